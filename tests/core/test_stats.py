import numpy as np
import pytest

from space_cli.core.stats import interval, paired_difference, score, wilson


def test_no_values_have_no_interval():
    assert interval([]) is None
    assert paired_difference([], []) is None
    empty = score([], [], better="lower", note="no images")
    assert (empty.before, empty.after, empty.low, empty.high, empty.n) == (None, None, None, None, 0)
    assert empty.note == "no images"


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, 0.0, 0.4345), (1.0, 0.5655, 1.0)])
def test_none_or_all_of_five_is_no_certainty(value, low, high):
    # Wilson bounds of 0/5 and 5/5, z = 1.96: z²/(n + z²) = 3.8415/8.8415.
    found = interval([value] * 5)
    assert found.mean == value
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_wilson_matches_a_published_value():
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_all_equal_nats_stay_a_point():
    found = interval([0.0] * 5, share=False)
    assert (found.low, found.mean, found.high) == (0.0, 0.0, 0.0)


def test_a_score_in_nats_gets_no_interval_of_a_share():
    record = score([0.5] * 5, [0.25] * 5, better="lower", unit="nats")
    assert (record.low, record.after, record.high) == (0.25, 0.25, 0.25)
    assert score([0.5] * 5, [0.25] * 5, better="lower").high > 0.25


def test_every_group_is_drawn():
    found = interval([0.0, 1.0], share=False)
    assert (found.low, found.high) == (0.0, 1.0)


def test_bootstrap_agrees_with_the_normal_interval_on_many_values():
    values = np.random.default_rng(1).integers(0, 2, 400)
    found = interval(values.tolist(), seed=2)
    reach = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - reach, abs=0.004)
    assert found.high == pytest.approx(values.mean() + reach, abs=0.004)


def test_a_single_hit_is_no_better_proof_than_none():
    for count in (6, 12, 24):
        none = interval([0.0] * count)
        for hits in ([1.0] + [0.0] * 27, [1.0] + [0.0] * 2):
            some = interval(
                hits + [0.0] * len(hits) * (count - 1), groups=[row // len(hits) for row in range(count * len(hits))]
            )
            assert some.n == count
            assert some.high > none.high


def test_an_interval_holds_the_truth_where_few_images_leak_and_others_seldom():
    # A fifth of the images leak in every one of 13 tries, the others in one of a hundred.
    draw, truth, held = np.random.default_rng(3), 0.2 + 0.8 * 0.01, 0
    for turn in range(200):
        leaky = draw.random(12) < 0.2
        tries = np.where(leaky[:, None], 1.0, draw.random((12, 13)) < 0.01)
        found = interval(tries.ravel().tolist(), groups=np.repeat(np.arange(12), 13).tolist(), seed=turn)
        held += found.low <= truth <= found.high
    assert held / 200 > 0.93


def test_one_changed_answer_is_no_better_proof_than_none():
    none, one = (paired_difference([1.0] * 12, after) for after in ([1.0] * 12, [0.0] + [1.0] * 11))
    assert one.low < none.low
    assert one.high - one.low >= none.high - none.low


def test_same_seed_same_bounds_and_another_seed_others():
    values = [0.0, 1.0, 3.0, 0.0, 1.0, 2.0, 0.3]
    assert interval(values, seed=4, share=False) == interval(values, seed=4, share=False)
    assert interval(values, seed=4, share=False) != interval(values, seed=5, share=False)


def test_asking_an_image_again_is_no_new_evidence():
    once = [1.0, 0.0] * 6
    five = [value for value in once for _ in range(5)]
    groups = [image for image in range(12) for _ in range(5)]
    clustered, alone, naive = interval(five, groups=groups), interval(once), interval(five)
    assert clustered.n == 12
    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high))
    assert naive.high - naive.low < 0.6 * (clustered.high - clustered.low)


def test_groups_of_unequal_size_weigh_by_their_answers():
    assert interval([1.0, 0.0, 0.0, 0.0], groups=["a", "b", "b", "b"]).mean == pytest.approx(0.25)


def test_one_image_with_mixed_answers_is_no_certainty():
    found = interval([1.0, 0.0, 1.0, 0.0, 1.0], groups=[0] * 5)
    assert found.n == 1
    assert found.high - found.low > 0.8


def test_paired_difference_knows_which_answers_changed():
    before, after = [1.0] * 10, [0.0] * 9 + [1.0]
    found = paired_difference(before, after, seed=1)
    assert found.mean == pytest.approx(-0.9)
    assert -1.0 <= found.low < -0.9 < found.high < -0.6


def test_paired_difference_of_equal_answers_has_a_width():
    found = paired_difference([1.0, 0.0] * 5, [1.0, 0.0] * 5)
    assert found.mean == 0
    assert found.low == -found.high
    assert found.high == pytest.approx(wilson(0.0, 10)[1])


def test_changes_both_ways_are_less_certain_than_none():
    found = paired_difference([1.0, 0.0] * 20, [0.0, 1.0] * 20)
    assert found.mean == 0
    assert found.high == pytest.approx(1.96 / 40**0.5, abs=0.03), "the normal interval of 40 changes of one either way"
    assert found.low == pytest.approx(-1.96 / 40**0.5, abs=0.03)


def test_paired_difference_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([1.0], [])


def test_score_holds_both_means_and_the_interval_of_after():
    record = score([1.0, 1.0, 0.0], [0.0, 1.0, 0.0], better="lower", groups=["x", "y", "z"], control=0.5)
    assert record.before == pytest.approx(2 / 3)
    assert record.after == pytest.approx(1 / 3)
    assert record.low <= record.after <= record.high
    assert (record.n, record.unit, record.control) == (3, "share", 0.5)
