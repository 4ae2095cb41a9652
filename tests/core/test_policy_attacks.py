"""Rules about what an attack added: what is taken off, and when nothing can be."""

import pytest

from policies import ATTACK, figure, policy

from benchmarks.robustness import scoring
from space_cli.core.errors import UsageFault
from space_cli.core.gating import judge


def attacked(after, low, high, **more):
    return figure(after, low, high).model_copy(update=more)


@pytest.mark.parametrize(
    ("of", "after", "floors", "verdict"),
    [
        ("recovery", 0.5, {"unattacked": 0.4, "control": 0.0}, "pass"),
        ("recovery", 0.5, {"unattacked": 0.3, "control": 0.5}, "fail"),
        ("over_control", 0.5, {"unattacked": 0.4, "control": 0.0}, "pass"),
        ("over_control", 0.5, {"unattacked": 0.0, "control": 0.4}, "pass"),
        ("over_control", 0.5, {"unattacked": 0.3, "control": 0.3}, "fail"),
        ("over_control", 0.5, {"unattacked": None, "control": 0.4}, "pass"),
        # In floating point 0.35 - 0.25 is no more than 0.1, and 0.3 - 0.2 less, but 0.8 - 0.7 is more.
        ("over_control", 0.8, {"unattacked": 0.0, "control": 0.7}, "pass"),
    ],
)
def test_what_an_attack_added_is_judged(of, after, floors, verdict):
    rules = policy(f'score = "{ATTACK}"\nof = "{of}"\nat_most = 0.1')
    found, gates = judge(rules, {ATTACK: attacked(after, 0.0, 1.0, **floors)})
    assert found == verdict
    assert (
        gates[0].rule == {"recovery": "recovery of", "over_control": "excess over control of"}[of] + f" {ATTACK} ≤ 0.1"
    )


@pytest.mark.parametrize(("tried", "control", "verdict"), [(0.7, 0.5, "pass"), (0.8, 0.5, "fail"), (1.0, 1.0, "pass")])
def test_one_try_that_wins_is_judged_though_the_mean_is_low(tried, control, verdict):
    rules = policy(f'score = "{ATTACK}"\nof = "any_try"\nat_most = 0.2')
    record = attacked(0.05, 0.0, 0.1, control=0.0, unattacked=0.0, parts={"any_try": tried, "any_try_control": control})
    found, gates = judge(rules, {ATTACK: record})
    assert found == verdict
    assert gates[0].rule == f"excess over control of any try of {ATTACK} ≤ 0.2"


@pytest.mark.parametrize(
    ("tried", "count", "control", "limit", "verdict"),
    [
        (0.0, 24, 0.0, 'bound = "high"\nat_most = 0.2', "pass"),  # none of 24 may still be 14 of 100
        (0.0, 6, 0.0, 'bound = "high"\nat_most = 0.2', "inconclusive"),  # none of 6 may be 39
        (0.0, 6, 0.2, 'bound = "high"\nat_most = 0.2', "pass"),
        (0.5, 24, 0.0, 'bound = "high"\nat_most = 0.2', "fail"),
        (0.5, 24, 0.0, 'bound = "low"\nat_most = 0.2', "fail"),
        (0.3, 24, 0.0, 'bound = "low"\nat_most = 0.2', "inconclusive"),
    ],
)
def test_what_any_try_won_is_a_share_of_images_and_has_its_interval(tried, count, control, limit, verdict):
    rules = policy(f'score = "{ATTACK}"\nof = "any_try"\nmin_n = 6\n{limit}')
    parts = {"any_try": tried, "any_try_control": control}
    record = attacked(0.05, 0.0, 0.1, control=0.0, unattacked=0.0, parts=parts, n=count)
    assert judge(rules, {ATTACK: record})[0] == verdict


@pytest.mark.parametrize("of", ["over_control", "any_try"])
@pytest.mark.parametrize(("controls", "verdict"), [(2, "inconclusive"), (5, "inconclusive"), (6, "pass")])
def test_a_control_of_a_few_images_takes_nothing_off(of, controls, verdict):
    """One lucky answer of two would make chance of half of what the attack brought back."""
    rules = policy(f'score = "{ATTACK}"\nof = "{of}"\nat_most = 0.1\nmin_n = 6')
    parts = {"any_try": 0.5, "any_try_control": 0.5, "controls": controls}
    record = attacked(0.5, 0.4, 0.6, control=0.5, unattacked=0.0, parts=parts, n=24)
    found, gates = judge(rules, {ATTACK: record})
    assert found == verdict
    assert found == "pass" or gates[0].reason.endswith(f"has a control of only {controls} images: 6 are needed")
    plain = policy(f'score = "{ATTACK}"\nat_most = 0.6\nmin_n = 6')
    assert judge(plain, {ATTACK: record})[0] == "pass", "a rule that takes no control off needs none"


def test_it_agrees_with_the_robustness_benchmark():
    fewer = {"at_control_size": 0.4}
    for control, unattacked, parts in ((0.1, 0.3, {}), (0.3, 0.1, {}), (0.2, None, {}), (0.2, None, fewer)):
        record = attacked(0.5, 0.4, 0.6, control=control, unattacked=unattacked, parts=parts)
        row = {"attack": ATTACK.removeprefix("attack_"), "scores": {ATTACK: record.model_dump()}}
        told = scoring.figures(row)
        for of, name in (("over_control", scoring.BOTH), ("recovery", scoring.RECOVERY)):
            value = told.get(f"{ATTACK}, {name}")
            for limit, verdict in () if value is None else ((value + 1e-6, "pass"), (value - 1e-6, "fail")):
                rules = policy(f'score = "{ATTACK}"\nof = "{of}"\nat_most = {limit:.9f}')
                assert judge(rules, {ATTACK: record})[0] == verdict


def test_the_interval_is_shifted_by_what_is_taken_off():
    record = attacked(0.5, 0.45, 0.7, control=0.4, unattacked=0.0)
    for bound, limit, verdict in (("high", 0.3, "pass"), ("high", 0.29, "inconclusive"), ("low", 0.04, "fail")):
        rules = policy(f'score = "{ATTACK}"\nof = "over_control"\nbound = "{bound}"\nat_most = {limit}')
        assert judge(rules, {ATTACK: record})[0] == verdict, (bound, limit)


@pytest.mark.parametrize(
    ("of", "there", "lacking"),
    [
        ("recovery", "control", "unattacked"),
        ("over_control", "unattacked", "control"),
        ("any_try", "control", "any_try"),
    ],
)
def test_without_what_is_taken_off_nothing_is_decided(of, there, lacking):
    rules = policy(f'score = "{ATTACK}"\nof = "{of}"\nat_most = 0.9')
    verdict, gates = judge(rules, {ATTACK: attacked(0.0, 0.0, 0.1, **{there: 0.0})})
    assert verdict == "inconclusive"
    assert gates[0].reason == f"{ATTACK} has no figure `{lacking}`, which the rule needs"


@pytest.mark.parametrize(
    ("floor", "ceiling", "contradicts"),
    [
        ("recovery", "recovery", True),
        ("recovery", "after", True),
        ("over_control", "recovery", True),
        ("over_control", "after", True),
        ("after", "recovery", False),  # the control may be high
        ("recovery", "over_control", False),
        ("any_try", "any_try", True),
        ("any_try", "after", False),  # one try may always win
    ],
)
def test_parts_of_a_score_contradict_where_no_control_allows_both(floor, ceiling, contradicts):
    rules = (
        f'score = "{ATTACK}"\nof = "{floor}"\nat_least = 0.9',
        f'score = "{ATTACK}"\nof = "{ceiling}"\nat_most = 0.5',
    )
    if contradicts:
        with pytest.raises(UsageFault, match="contradicts"):
            policy(*rules)
    else:
        assert len(policy(*rules).rule) == 2


@pytest.mark.parametrize("before", [float("nan"), float("inf"), None])
@pytest.mark.parametrize("of", ["after", "any_try"])
def test_a_figure_before_that_is_no_number_decides_nothing(of, before):
    rules = policy(f'score = "{ATTACK}"\nof = "{of}"\nat_most = 0.2\nbefore_at_least = 0.1')
    parts = {"any_try": 0.05, "any_try_control": 0.0}
    record = attacked(0.05, 0.0, 0.1, control=0.0, parts=parts).model_copy(update={"before": before})
    verdict, (gate,) = judge(rules, {ATTACK: record})
    assert verdict == "inconclusive"
    assert "`before`" in gate.reason
