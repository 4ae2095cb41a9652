import json
import re

from pathlib import Path

import pytest

from cli_records import make_audit, make_chain, make_erased, sealed

from space_cli.cli.app import run
from space_cli.cli.workspace import done_already
from space_cli.core.examining import every_score
from space_cli.io.artifact import read_record
from space_cli.io.probe import open_policy

PLACE = Path(".space")


def asked(stages):
    return next(request for name, request, _ in reversed(stages) if name == "audit")


@pytest.fixture
def chain(stages):
    make_chain(PLACE.absolute())
    return stages


@pytest.mark.parametrize("name", ["default", "strict", "report-only"])
def test_a_shipped_policy_is_asked_for_by_name(chain, name):
    assert run(["audit", "--policy", name, "--overwrite"]) == 0
    assert asked(chain).policy == name


def test_any_other_policy_is_a_file(chain, tmp_path, capsys):
    (tmp_path / "strict").write_text("")
    assert run(["audit", "--policy", "./strict", "--overwrite"]) == 0
    assert asked(chain).policy == str(tmp_path / "strict")
    assert run(["audit", "--policy", "stricter", "--overwrite"]) == 2
    assert "hint: shipped are default, report-only, strict" in capsys.readouterr().err


def test_all_metrics_may_be_asked_for(chain):
    assert run(["audit", "--metrics", "all", "--overwrite"]) == 0
    assert asked(chain).metrics == ("all",)


@pytest.mark.parametrize(
    ("given", "said"),
    [("relearn=3", "names no option"), ("relearn.=3", "names no option"), ("relearn", "is not a pair")],
)
def test_a_budget_written_otherwise_is_refused(given, said, chain, capsys):
    assert run(["audit", "--attacks", "relearn", "--set", given]) == 2
    assert said in capsys.readouterr().err


def test_budgets_are_read_by_metric_and_attack(chain, capsys):
    given = ["--set", "relearn.rates=[3e-4]", "--set", "relearn.stops=[5, 20]", "--set", "retain-kl.prompts=9"]
    assert run(["audit", "--attacks", "relearn", *given, "--dry-run", "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)["audit"]
    assert asked["budgets"] == {"relearn": {"rates": [3e-4], "stops": [5, 20]}, "retain_kl": {"prompts": 9}}


def test_an_alias_of_an_open_folder_belongs_into_the_notes(chain, capsys):
    assert run(["audit", "--alias", "bamboo bear", "--overwrite"]) == 2
    assert "hint: give further names under `aliases` in `concepts.toml`" in capsys.readouterr().err


def test_a_baseline_must_be_a_finished_erasure(chain, tmp_path, capsys):
    assert run(["audit", "--baseline", "nowhere", "--overwrite"]) == 4
    assert run(["audit", "--baseline", str(PLACE / "pool"), "--overwrite"]) == 4
    assert "`erased` is needed" in capsys.readouterr().err
    make_erased(tmp_path / "other", PLACE / "anchors")
    assert run(["audit", "--baseline", "other", "--overwrite"]) == 0
    assert asked(chain).baseline == str(tmp_path / "other")


def test_a_baseline_stands_beside_in_table_and_json(tmp_path, capsys):
    record = make_chain(tmp_path)
    other = {"after": 0.625, "parts": {"difference": -0.5, "difference_low": -0.75, "difference_high": -0.25}}
    beside = record.model_copy(
        update={"baseline": {"forget_accuracy": record.scores["forget_accuracy"].model_copy(update=other)}}
    )
    (tmp_path / "audit" / "space.json").write_text(beside.model_dump_json())
    assert run(["show", str(tmp_path / "audit")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"better\W+baseline", shown)
    assert "62.5 %" in shown
    assert "-50.0 points" in shown
    assert run(["show", str(tmp_path / "audit"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baseline"]["forget_accuracy"]["after"] == 0.625


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    path.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_the_summary_is_appended_to_the_page_of_a_job(stages, page):
    report = make_chain(PLACE.absolute(), verdict="inconclusive")
    (PLACE / "audit" / "summary.md").write_text("## audited\n")
    sealed(PLACE / "audit", report)
    assert run(["audit"]) == 3
    assert page.read_text() == "# before\n## audited\n"


def test_a_page_that_cannot_be_written_changes_no_exit_code(stages, page, monkeypatch, tmp_path, capsys):
    report = make_chain(PLACE.absolute())
    (PLACE / "audit" / "summary.md").write_text("## audited\n")
    sealed(PLACE / "audit", report)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert run(["audit"]) == 0
    assert "cannot be written" in capsys.readouterr().err


def test_an_audit_without_a_summary_appends_nothing(stages, page):
    make_chain(PLACE.absolute())
    assert run(["audit"]) == 0
    assert page.read_text() == "# before\n"


def test_a_named_policy_that_changed_is_not_reused(tmp_path):
    make_chain(tmp_path)
    old = make_audit(tmp_path / "audit", tmp_path / "erased")
    request = old.request.model_copy(update={"policy": "strict"})
    digest = open_policy("strict", known=every_score())[1]
    for sha256, found in ((digest, True), ("0" * 64, False)):
        record = old.model_copy(update={"request": request, "policy_sha256": sha256})
        (tmp_path / "audit" / "space.json").write_text(record.model_dump_json())
        assert (done_already(tmp_path / "audit", request) is not None) == found
    assert read_record(tmp_path / "audit").request.policy == "strict"
