import pytest

from space_cli.core import registry
from space_cli.core.errors import UsageFault
from space_cli.core.policy import judge, parse_policy
from space_cli.core.records import ScoreRecord
from space_cli.io.probe import open_policy

KNOWN = ("forget_accuracy", "retain_accuracy", "retain_kl")


def policy(*rules, head='name = "test"'):
    return parse_policy("\n".join((head, *(f"[[rule]]\n{rule}" for rule in rules))), origin="p.toml", known=KNOWN)


def figure(after, low=None, high=None, *, before=1.0, n=50):
    return ScoreRecord(
        before=before,
        after=after,
        low=after if low is None else low,
        high=after if high is None else high,
        n=n,
        better="lower",
    )


FORGET = 'score = "forget_accuracy"\nat_most = 0.1'


@pytest.mark.parametrize(("after", "verdict"), [(0.1, "pass"), (0.11, "fail"), (0.0, "pass")])
def test_the_mean_decides_by_default(after, verdict):
    found, gates = judge(policy(FORGET), {"forget_accuracy": figure(after, 0.0, 0.9)})
    assert (found, gates[0].verdict) == (verdict, verdict)
    assert "forget_accuracy" in gates[0].reason


@pytest.mark.parametrize(("bound", "verdict"), [("mean", "pass"), ("low", "pass"), ("high", "inconclusive")])
def test_an_interval_across_the_threshold_is_judged_by_its_bound(bound, verdict):
    rules = policy(f'{FORGET}\nbound = "{bound}"')
    assert judge(rules, {"forget_accuracy": figure(0.05, 0.0, 0.2)})[0] == verdict


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


def test_a_rule_may_ask_for_less_evidence_or_none():
    assert judge(policy(f"{FORGET}\nmin_n = 2"), {"forget_accuracy": figure(0.0, n=2)})[0] == "pass"
    assert judge(policy(f"{FORGET}\nrequired = false"), {})[0] == "pass"


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


def test_the_shipped_policy_reads_and_speaks_of_metrics_that_exist():
    known = [name.replace("-", "_") for name in registry.names("metrics")]
    shipped, digest = open_policy(None, known=known)
    assert shipped.name == "default"
    assert len(digest) == 64
    assert {"forget_accuracy", "retain_accuracy", "neighbour_accuracy"} <= {rule.score for rule in shipped.rule}


def test_a_policy_file_that_is_not_there_is_a_usage_fault(tmp_path):
    with pytest.raises(UsageFault, match="cannot be read"):
        open_policy(str(tmp_path / "none.toml"), known=KNOWN)
