import hashlib

import pytest

from space_cli.core import registry
from space_cli.core.errors import UsageFault
from space_cli.core.policy import judge, parse_policy
from space_cli.core.records import ScoreRecord
from space_cli.io.probe import open_policy, shipped_policies

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


def shipped(name):
    found, _ = open_policy(name, known=[metric.replace("-", "_") for metric in registry.names("metrics")])
    return found


def test_shipped_policies_have_their_file_names_and_are_opened_by_them():
    assert shipped_policies() == ["default", "report-only", "strict"]
    assert [shipped(name).name for name in shipped_policies()] == shipped_policies()
    assert open_policy("default", known=[rule.score for rule in shipped(None).rule]) == open_policy(
        None, known=[rule.score for rule in shipped(None).rule]
    )


def test_report_only_has_the_rules_of_default_and_decides_nothing():
    assert shipped("report-only").rule == shipped("default").rule
    assert shipped("report-only").min_n == shipped("default").min_n
    assert not shipped("report-only").decides


def passing(rules):
    """Return scores that meet every rule by a hair, from the ceilings and floors of the rules themselves."""
    scores = {}
    for rule in rules:
        limit = rule.at_most if rule.at_most is not None else rule.at_least
        step = -1e-9 if rule.at_most is not None else 1e-9
        old = scores.get(rule.score, {"before": 1.0, "after": limit + step, "n": 1000, "better": "lower"})
        scores[rule.score] = old | {rule.bound if rule.bound != "mean" else "after": limit + step}
    return {
        name: ScoreRecord(**{"low": facts["after"], "high": facts["after"]} | facts) for name, facts in scores.items()
    }


def test_strict_is_narrower_than_default_on_every_score():
    strict, default = shipped("strict"), shipped("default")
    assert {rule.score for rule in default.rule} < {rule.score for rule in strict.rule}
    assert strict.min_n > default.min_n
    scores = passing(strict.rule)
    assert judge(strict, scores)[0] == "pass"
    assert judge(default, scores)[0] == "pass"
    for score in {rule.score for rule in default.rule}:
        own = default.model_copy(update={"rule": tuple(rule for rule in default.rule if rule.score == score)})
        edge = passing(own.rule)
        assert judge(own, edge)[0] == "pass"
        assert judge(strict, scores | edge)[0] != "pass", score


def test_a_file_named_like_a_shipped_policy_is_opened_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strict").write_text('name = "mine"\n[[rule]]\nscore = "retain_kl"\nat_most = 1\n')
    assert open_policy("./strict", known=KNOWN)[0].name == "mine"


def test_the_digest_of_a_policy_is_that_of_its_file(tmp_path):
    path = tmp_path / "p.toml"
    path.write_bytes(b'name = "x"\r\n[[rule]]\r\nscore = "retain_kl"\r\nat_most = 1\r\n')
    assert open_policy(str(path), known=KNOWN)[1] == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"\xff")
    with pytest.raises(UsageFault, match="cannot be read"):
        open_policy(str(path), known=KNOWN)
