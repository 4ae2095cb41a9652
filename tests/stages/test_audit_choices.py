"""What a person may choose: names, metrics, policies."""

import json

import pytest

from auditing import BY_DEFAULT, QUICK, run

from space_cli.core import registry
from space_cli.core.errors import UsageFault
from space_cli.core.recipe import AuditRequest
from space_cli.core.records import ScoreRecord
from space_cli.metrics import elicitation, fluency
from space_cli.stages import audit as stage
from space_cli.stages.verify import verify

EVERY = {name.replace("-", "_") for name in registry.names("metrics")}


def test_more_names_join_the_forced_choice(erased, images, tmp_path):
    report = run(
        erased,
        tmp_path / "audit",
        images=str(images),
        names=("bear", "Panda"),
        metrics=("forget-choice-accuracy",),
    )
    assert "among 8 names" in report.scores["forget_choice_accuracy"].note


@pytest.mark.parametrize("name", ["a panda", "The Panda", "some giant pandas", "giantpanda"])
def test_the_concepts_own_name_in_a_sentence_hides_no_answer(other, images, tmp_path, name):
    (images / "concepts.toml").write_text('[panda]\naliases = ["giant panda", "giant pandas"]\n')
    asked = ("forget_accuracy", "forget_choice_accuracy")
    report = run(other, tmp_path / "audit", images=str(images), names=(name,), metrics=asked)
    assert report.scores["forget_accuracy"].after == 1.0, "nothing was erased"
    assert "among 8 names" in report.scores["forget_choice_accuracy"].note
    assert report.verdict == "fail"


def test_only_the_metrics_asked_for_run_and_the_rest_is_no_evidence(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("kind_accuracy",), limit=2)
    assert set(report.scores) == {"kind_accuracy"}
    assert report.scores["kind_accuracy"].n == 2
    assert report.verdict == "inconclusive"


def test_an_unknown_metric_or_policy_is_refused_before_anything_is_read(erased, tmp_path):
    with pytest.raises(UsageFault, match="unknown metric"):
        run(erased, tmp_path / "audit", metrics=("beauty",))
    (tmp_path / "bad.toml").write_text('name = "x"\n[[rule]]\nscore = "beauty"\nat_most = 1\n')
    with pytest.raises(UsageFault, match="unknown score"):
        run(erased, tmp_path / "audit", policy=str(tmp_path / "bad.toml"))


@pytest.fixture
def optional(monkeypatch):
    """Make two more metrics run only when asked for, and none of these need a real checkpoint."""
    told = ScoreRecord(before=1.0, after=0.0, low=0.0, high=0.1, n=30, better="lower")
    for metric in (elicitation, fluency):
        monkeypatch.setattr(metric, "DEFAULT", False, raising=False)
    for name in EVERY - set(QUICK):
        monkeypatch.setattr(registry.load("metrics", name), "measure", lambda *asked: told)


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        ((), BY_DEFAULT - {"fluency", "elicitation"}),
        (("all",), EVERY),
        (("fluency", "all"), EVERY),
        (("fluency",), {"fluency"}),
    ],
)
def test_an_optional_metric_runs_only_when_it_is_named_or_all_are(erased, optional, tmp_path, asked, runs):
    report = run(erased, tmp_path / "audit", metrics=asked)
    assert {*report.scores, *report.skipped} == runs
    assert set(stage.plan(AuditRequest(erased=str(erased), metrics=asked))["metrics"]) == runs


@pytest.mark.parametrize(("policy", "verdict"), [("strict", "inconclusive"), ("report-only", "inconclusive")])
def test_a_shipped_policy_is_used_by_its_name(erased, images, tmp_path, policy, verdict):
    report = run(erased, tmp_path / "audit", images=str(images), policy=policy)
    assert (report.policy, report.verdict, report.request.policy) == (policy, verdict, policy)
    said = json.loads((tmp_path / "audit" / "attestation.intoto.json").read_text())
    assert said["predicate"]["result"] == "WARNED"
    assert next(check for check in verify(tmp_path / "audit") if check.name == "verdict").passed
