import pytest

from policies import ATTACK, FORGET, KNOWN, figure, policy

from space_cli.core.errors import UsageFault
from space_cli.core.gating import judge, passed_over
from space_cli.core.policy import parse_policy
from space_cli.core.records import ScoreRecord


@pytest.mark.parametrize(("after", "verdict"), [(0.1, "pass"), (0.11, "fail"), (0.0, "pass")])
def test_the_mean_decides_by_default(after, verdict):
    found, gates = judge(policy(FORGET), {"forget_accuracy": figure(after, 0.0, 0.9)})
    assert (found, gates[0].verdict) == (verdict, verdict)
    assert "forget_accuracy" in gates[0].reason


@pytest.mark.parametrize(("bound", "verdict"), [("mean", "pass"), ("low", "pass"), ("high", "inconclusive")])
def test_an_interval_across_the_threshold_is_judged_by_its_bound(bound, verdict):
    rules = policy(f'{FORGET}\nbound = "{bound}"')
    assert judge(rules, {"forget_accuracy": figure(0.05, 0.0, 0.2)})[0] == verdict


@pytest.mark.parametrize(
    ("rule", "bound", "inside", "outside"),
    [
        ("at_most = 0.1", "low", (0.2, 0.05, 0.3), (0.2, 0.15, 0.3)),
        ("at_least = 0.9", "high", (0.8, 0.7, 0.95), (0.8, 0.7, 0.85)),
    ],
)
def test_a_lenient_bound_is_no_pass_where_the_mean_does_not_meet_the_threshold(rule, bound, inside, outside):
    rules = policy(f'score = "forget_accuracy"\n{rule}\nbound = "{bound}"')
    verdict, gates = judge(rules, {"forget_accuracy": figure(*inside)})
    assert verdict == "inconclusive"
    assert f"has the mean {inside[0]:.3f}, which does not meet it, though its {bound} end is" in gates[0].reason
    assert judge(rules, {"forget_accuracy": figure(*outside)})[0] == "fail"


def test_a_mean_beyond_the_threshold_fails_whatever_the_strict_bound():
    rules = policy(f'{FORGET}\nbound = "high"')
    assert judge(rules, {"forget_accuracy": figure(0.2, 0.05, 0.4)})[0] == "fail"


def test_missing_or_thin_evidence_is_never_a_pass():
    rules = policy(FORGET)
    empty = ScoreRecord(before=None, after=None, low=None, high=None, n=0, better="lower")
    assert judge(rules, {})[0] == "inconclusive"
    assert judge(rules, {"forget_accuracy": empty})[0] == "inconclusive"
    assert judge(rules, {"forget_accuracy": figure(0.0, n=9)})[0] == "inconclusive"
    assert judge(rules, {"forget_accuracy": figure(0.0, n=10)})[0] == "pass"


def test_a_rule_may_ask_for_less_evidence():
    assert judge(policy(f"{FORGET}\nmin_n = 2"), {"forget_accuracy": figure(0.0, n=2)})[0] == "pass"


def test_a_rule_that_is_not_required_makes_no_gate_where_nothing_was_measured():
    optional = f"{FORGET}\nrequired = false"
    kept = 'score = "retain_accuracy"\nat_least = 0.5'
    empty = ScoreRecord(before=None, after=None, low=None, high=None, n=0, better="lower")
    for scores in ({}, {"forget_accuracy": empty}):
        # With no gate left nothing was shown.
        assert judge(policy(optional), scores) == ("inconclusive", [])
        assert passed_over(policy(optional), scores) == ["forget_accuracy ≤ 0.1"]
        verdict, gates = judge(policy(optional, kept), scores | {"retain_accuracy": figure(0.9)})
        assert (verdict, [gate.score for gate in gates]) == ("pass", ["retain_accuracy"])
    assert judge(policy(optional), {"forget_accuracy": figure(0.9)})[0] == "fail"
    assert judge(policy(optional), {"forget_accuracy": figure(0.0)})[0] == "pass"
    assert passed_over(policy(optional, kept), {"forget_accuracy": figure(0.0)}) == []


NO_NUMBERS = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(
    ("more", "figures"),
    [
        ("at_most = 0.1", {"after"}),
        ("at_least = 0.1", {"after"}),
        ('at_most = 0.1\nbound = "high"', {"after", "high"}),
        ('at_least = 0.1\nbound = "low"', {"after", "low"}),
        ("at_least = 0.1\nratio_of_before = true", {"after", "before"}),
        ("at_most = 0.1\nbefore_at_least = 0.5", {"after", "before"}),
        ('at_most = 0.1\nof = "recovery"', {"after", "unattacked"}),
        ('at_most = 0.1\nof = "over_control"', {"after", "unattacked", "control"}),
    ],
)
def test_what_is_no_number_is_inconclusive_and_never_a_pass(more, figures, value):
    rules = policy(f'score = "{ATTACK}"\n{more}')
    for name in figures:
        record = figure(0.05).model_copy(update={"control": 0.0, "unattacked": 0.0, name: value})
        verdict, gates = judge(rules, {ATTACK: record})
        assert verdict == "inconclusive", name
        assert gates[0].reason == f"{ATTACK} has {value} as its figure `{name}`: there is nothing to compare"


def test_a_figure_that_a_rule_does_not_need_does_not_matter():
    record = figure(0.05).model_copy(update={"control": float("nan"), "before": None})
    assert judge(policy(FORGET), {"forget_accuracy": record})[0] == "pass"


def test_ratio_of_before():
    rules = policy('score = "retain_accuracy"\nat_least = 0.97\nratio_of_before = true')
    assert judge(rules, {"retain_accuracy": figure(0.78, before=0.8)})[0] == "pass"
    assert judge(rules, {"retain_accuracy": figure(0.76, before=0.8)})[0] == "fail"
    verdict, gates = judge(rules, {"retain_accuracy": figure(0.0, before=0.0)})
    assert verdict == "inconclusive"
    assert "no ratio" in gates[0].reason


def test_forgetting_what_was_never_known_is_inconclusive():
    rules = policy(f"{FORGET}\nbefore_at_least = 0.5")
    assert judge(rules, {"forget_accuracy": figure(0.0, before=0.2)})[0] == "inconclusive"
    assert judge(rules, {"forget_accuracy": figure(0.0, before=0.9)})[0] == "pass"


def test_one_failure_outweighs_what_is_open():
    rules = policy(FORGET, 'score = "retain_kl"\nat_most = 0.1', 'score = "retain_accuracy"\nat_least = 0.5')
    scores = {"forget_accuracy": figure(0.9), "retain_accuracy": figure(0.9)}
    verdict, gates = judge(rules, scores)
    assert verdict == "fail"
    assert [gate.verdict for gate in gates] == ["fail", "inconclusive", "pass"]
    assert judge(rules, scores | {"forget_accuracy": figure(0.0)})[0] == "inconclusive"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('score = "forget_accuracy"\nat_mots = 0.1', "at_mots"),
        ('score = "forget_acuracy"\nat_most = 0.1', "unknown score"),
        ('score = "forget_accuracy"', "neither"),
        ('score = "forget_accuracy"\nat_most = nan', "finite"),
        ('score = "forget_accuracy"\nat_most = 0.1\nat_least = 0.2', "contradicts"),
        ('score = "forget_accuracy"\nat_most = 0.1\nbound = "median"', "bound"),
        ("score = ", "not TOML"),
        ('score = "attack_jailbreak"\nat_most = 0.1\nof = "control"', "of"),
        ('score = "attack_jailbreak"\nat_most = 0.1\nof = "recovery"\nratio_of_before = true', "ratio_of_before"),
        ('score = "attack_jailbreak"\nat_most = 0.1\nof = "over_control"\nratio_of_before = true', "ratio_of_before"),
        ('score = "forget_accuracy"\nat_most = 0.1\nof = "recovery"', "only an attack"),
        ('score = "forget_accuracy"\nat_most = 0.1\nof = "any_try"', "only an attack"),
        ('score = "rebound"\nat_most = 0.1\nof = "worst"\nratio_of_before = true', "ratio_of_before"),
        ('score = "rebound"\nat_most = 0.1\nof = "worst"\nbound = "high"', "has none"),
    ],
)
def test_a_wrong_rule_is_refused(rule, said):
    with pytest.raises(UsageFault, match=said):
        policy(rule)


def test_rules_may_not_contradict_each_other():
    high = 'score = "retain_accuracy"\nat_least = 0.9'
    with pytest.raises(UsageFault, match="contradicts"):
        policy(high, 'score = "retain_accuracy"\nat_most = 0.5')
    # A share and its ratio to before are two different numbers.
    policy(high, 'score = "retain_accuracy"\nat_most = 0.5\nratio_of_before = true')


def test_a_policy_without_rules_or_with_unknown_keys_is_refused():
    with pytest.raises(UsageFault, match="rule"):
        parse_policy('name = "empty"', origin="p.toml", known=KNOWN)
    with pytest.raises(UsageFault, match="colour"):
        policy(FORGET, head='name = "x"\ncolour = "red"')


@pytest.mark.parametrize(
    ("floor", "ceiling", "contradicts"),
    [
        ("low", "high", True),
        ("mean", "high", True),
        ("low", "mean", True),
        ("high", "low", False),  # a wide interval has both
        ("high", "mean", False),
        ("mean", "low", False),
    ],
)
def test_ends_of_an_interval_contradict_where_no_interval_has_both(floor, ceiling, contradicts):
    rules = (
        f'score = "retain_accuracy"\nbound = "{floor}"\nat_least = 0.9',
        f'score = "retain_accuracy"\nbound = "{ceiling}"\nat_most = 0.5',
    )
    if contradicts:
        with pytest.raises(UsageFault, match="contradicts"):
            policy(*rules)
    else:
        assert len(policy(*rules).rule) == 2


@pytest.mark.parametrize(("after", "would"), [(0.0, "pass"), (0.9, "fail")])
def test_a_policy_that_decides_nothing_is_inconclusive_and_says_what_it_would_be(after, would):
    rules = policy(FORGET, head='name = "x"\ndecides = false')
    verdict, gates = judge(rules, {"forget_accuracy": figure(after)})
    assert (verdict, gates[0].verdict) == ("inconclusive", "inconclusive")
    assert gates[0].reason.startswith(f"would be {would}: forget_accuracy is")
    assert judge(rules, {})[1][0].reason == "forget_accuracy was not measured"


def test_a_gate_says_why_its_score_is_missing():
    rules = policy(FORGET)
    gate = judge(rules, {}, {"forget_accuracy": "needs `forget`: no images were given"})[1][0]
    assert gate.reason == "forget_accuracy was not measured: needs `forget`: no images were given"


def test_rebound_on_anchors_that_later_requests_train_on_is_no_pass():
    rules = policy('score = "rebound"\nat_most = 0.05\nmin_n = 1')
    found = figure(0.0).model_copy(update={"n": 3, "parts": {"pictured": 3.0}})
    assert judge(rules, {"rebound": found})[0] == "pass"
    found = found.model_copy(update={"parts": {"pictured": 1.0}})
    verdict, gates = judge(rules, {"rebound": found})
    assert verdict == "inconclusive"
    assert "too few images of 2 of 3 earlier concepts" in gates[0].reason
