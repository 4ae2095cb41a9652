"""The difference between two erased checkpoints that were asked the same questions."""

import math

import pytest

from space_cli.core.comparing import with_differences
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score

GROUPS = [image for image in range(20) for _ in range(2)]
HARD = [float(image % 2) for image in range(20) for _ in range(2)]
"""Both checkpoints fail on the same half of the images."""


def scored(after, **more):
    return score([1.0] * len(after), after, better="lower", groups=GROUPS[: len(after)], **more)


def parts_of(one, other):
    (told,) = with_differences({"x": one}, {"x": other}, seed=0).values()
    return told.parts


def test_what_is_hard_for_both_cancels():
    """One image more of twenty: each interval is wide, that of the difference is not."""
    better = [0.0, 0.0, *HARD[2:]]
    better[2:4] = [0.0, 0.0]
    one, other = scored(better), scored(HARD)
    found = parts_of(one, other)
    assert found["difference"] == pytest.approx(one.after - other.after) == pytest.approx(-0.05)
    # No narrower than that of 20 images which all agree, ± 0.161.
    assert -0.22 <= found["difference_low"] < -0.05 < found["difference_high"] < 0.12
    width = found["difference_high"] - found["difference_low"]
    assert width < 0.9 * (one.high - one.low)


def test_equal_answers_differ_by_nothing_and_the_evidence_is_finite():
    found = parts_of(scored(HARD), scored(HARD))
    assert found["difference"] == 0.0
    assert found["difference_low"] == -found["difference_high"] == pytest.approx(-0.161, abs=1e-3)


def test_a_figure_that_is_no_share_has_no_width_where_all_agree():
    found = parts_of(scored(HARD, unit="nats"), scored([one + 3 for one in HARD], unit="nats"))
    assert {round(value, 9) for value in found.values()} == {-3.0}


def test_answers_that_do_not_pair_have_no_difference():
    whole = scored(HARD)
    assert parts_of(whole, scored(HARD[:10])) == {}
    elsewhere = score(HARD, HARD, better="lower", groups=[("other", image) for image in GROUPS])
    assert parts_of(whole, elsewhere) == {}, "as many images, of something else"
    assert parts_of(ScoreRecord.model_validate(whole.model_dump()), whole) == {}, "a record from a file has no answers"
    assert with_differences({}, {"x": whole}, seed=0)["x"].parts == {}


def test_answers_are_no_part_of_the_record():
    whole = scored(HARD)
    again = ScoreRecord.model_validate(whole.model_dump())
    assert again == whole
    assert len({again, whole}) == 1
    assert "samples" not in whole.model_dump_json()
    assert whole != whole.model_copy(update={"after": 0.1})


def test_a_score_that_is_no_number_has_no_difference_and_its_record_can_be_read_again():
    wrong = scored([math.nan, *HARD[1:]], unit="nats")
    for one, other in ((scored(HARD, unit="nats"), wrong), (wrong, scored(HARD, unit="nats"))):
        assert parts_of(one, other) == {}
        told = with_differences({"x": one}, {"x": other}, seed=0)["x"]
        assert ScoreRecord.model_validate_json(told.model_dump_json()).parts == {}
