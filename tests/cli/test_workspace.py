"""Stages find each other's results, and run again exactly when those are not true any more."""

import json
import shlex

from pathlib import Path

import pytest

from cli_records import make_anchors, make_audit, make_chain, make_erased, make_model, make_pool

from space_cli.cli.app import run
from space_cli.cli.workspace import done_already, open_workspace, stage_seconds, stale_anchors
from space_cli.core.errors import UsageFault
from space_cli.core.recipe import Concept, IndexRequest
from space_cli.core.records import FileRecord
from space_cli.io.artifact import digest_file, read_record

PANDA = Concept(name="panda")
PLACE = Path(".space")


def names(calls):
    return [name for name, _, _ in calls]


ERASE = ["erase", "--concept", "panda", "--model", "model"]


def test_the_four_lines_of_the_issue_follow_each_other(stages, tmp_path, capsys):
    assert run(["index", "./images"]) == 0
    assert "next: space select CONCEPT" in capsys.readouterr().err
    assert run(["select", "Donald Trump"]) == 0
    assert "next: space erase --concept 'Donald Trump' --model ID_OR_FOLDER" in capsys.readouterr().err
    assert run(["erase", "--concept", "Donald Trump", "--model", "model"]) == 0
    assert "next: space audit" in capsys.readouterr().err
    assert run(["audit"]) == 0
    assert names(stages) == ["index", "select", "select", "erase", "audit"]
    assert stages[2][1].model == str(tmp_path / "model")


def test_erase_alone_runs_what_is_missing(stages, tmp_path):
    assert run([*ERASE, "--pool", "images", "--encoder", "some/siglip"]) == 0
    assert names(stages) == ["index", "select", "erase"]
    indexed = stages[0][1]
    assert isinstance(indexed, IndexRequest)
    assert (indexed.sources, indexed.encoder) == ((str(tmp_path / "images"),), "some/siglip")
    assert stages[1][1].pool == str(tmp_path / ".space" / "pool")


def test_fresh_anchors_are_reused(stages, capsys):
    make_pool(PLACE / "pool")
    make_anchors(PLACE / "anchors", (PLACE / "pool").absolute(), model=Path("model").absolute())
    assert run(ERASE) == 0
    assert names(stages) == ["erase"]
    assert "there already" in capsys.readouterr().err


def test_anchors_selected_elsewhere_are_used_and_never_replaced(stages, capsys):
    make_pool(PLACE / "pool")
    chosen = Path("looked at").absolute()
    make_anchors(chosen, (PLACE / "pool").absolute(), model=Path("model").absolute())
    before = (chosen / "space.json").read_bytes()
    assert run([*ERASE, "--anchors", "looked at"]) == 0
    assert names(stages) == ["erase"]
    assert stages[0][1].anchors == str(chosen)
    make_pool(PLACE / "pool", images=9)
    for more in ([], ["--dry-run"]):
        assert run([*ERASE, "--anchors", "looked at", "--overwrite", *more]) == 2
        said = capsys.readouterr().err
        assert "cannot serve: the anchors were selected from another state of the pool" in said
    assert (chosen / "space.json").read_bytes() == before
    assert run([*ERASE, "--anchors", "nowhere"]) == 4
    assert run([*ERASE, "--concept", "koala", "--anchors", "looked at"]) == 2
    assert "`--anchors` belongs to one concept" in capsys.readouterr().err


def test_a_selection_elsewhere_says_how_to_erase_with_it(stages, capsys):
    make_pool(PLACE / "pool")
    assert run(["select", "panda", "--out", "looked at"]) == 0
    assert f"--anchors '{Path('looked at').absolute()}'" in capsys.readouterr().err


def test_a_selection_says_how_to_erase_what_it_is_for(stages, capsys):
    make_pool(Path(".space/pool"))
    asked = ["--model", "model", "--revision", "v 1", "--scope", "all"]
    assert run(["select", "--out", "chosen", *asked, "--", "-o'clock $(reboot)"]) == 0
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("next: space "))
    assert run([*shlex.split(line)[2:], "--overwrite"]) == 0
    chosen, erased = stages[0][1], stages[-1][1]
    assert (erased.concept, erased.model, erased.revision) == (chosen.concept, chosen.model, "v 1")
    assert erased.scope == "all"


def test_another_pool_given_by_folder_selects_again(stages):
    make_pool(PLACE / "pool")
    make_anchors(PLACE / "anchors", (PLACE / "pool").absolute(), model=Path("model").absolute())
    make_pool(Path("other"), images=99)
    assert run([*ERASE, "--pool", "other"]) == 0
    assert names(stages) == ["select", "erase"]
    assert stages[0][1].pool == str(Path("other").absolute())


def test_selecting_again_keeps_what_a_person_chose(stages):
    make_pool(PLACE / "pool")
    concept = Concept(name="panda", aliases=("giant panda",))
    make_anchors(PLACE / "anchors", (PLACE / "pool").absolute(), concept=concept, exclude=("ab",), anchors=20)
    assert run([*ERASE, "--exclude", "cd"]) == 0
    selected = stages[0][1]
    assert selected.concept == concept
    assert selected.exclude == ("ab", "cd")
    assert selected.anchors == 20
    assert stages[1][1].concept == concept


def test_erase_without_a_pool_says_how_to_make_one(stages, capsys):
    assert run(ERASE) == 4
    assert "hint: space index ./pool" in capsys.readouterr().err
    assert not stages


def test_an_erased_folder_is_replaced_only_on_demand(stages, capsys):
    make_chain(PLACE)
    assert run(ERASE) == 2
    assert "pass `--overwrite` to replace it" in capsys.readouterr().err
    assert not stages
    assert run([*ERASE, "--overwrite"]) == 0
    assert names(stages) == ["select", "erase"]


def test_a_dry_run_writes_nothing_and_names_what_waits(stages, capsys):
    assert run([*ERASE, "--pool", "images", "--dry-run", "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)
    assert set(plans) == {"index", "select", "erase"}
    assert plans["index"]["sources"] == [str(Path("images").absolute())]
    assert list(plans["select"]) == ["waits_for"]
    assert not stages
    assert not PLACE.exists()


def test_a_dry_run_tells_why_it_would_select(stages, capsys):
    make_pool(PLACE / "pool")
    assert run([*ERASE, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["select"]["reason"] == "no anchors for `panda` yet"


def test_the_same_selection_is_not_done_twice(stages, capsys):
    make_pool(PLACE / "pool")
    assert run(["select", "panda"]) == 0
    capsys.readouterr()
    assert run(["select", "panda"]) == 0
    assert "done already" in capsys.readouterr().err
    assert run(["select", "koala"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(["select", "koala", "--overwrite"]) == 0
    assert names(stages) == ["select", "select"]


def test_a_selection_that_was_damaged_is_made_anew(stages, capsys):
    make_pool(PLACE / "pool")
    assert run(["select", "panda"]) == 0
    table, record = PLACE / "anchors" / "anchors.parquet", PLACE / "anchors" / "space.json"
    table.write_text("anchors", encoding="utf-8")
    listed = FileRecord(path=table.name, sha256=digest_file(table), bytes=7)
    whole = read_record(PLACE / "anchors").model_copy(update={"files": [listed]})
    record.write_text(whole.model_dump_json(), encoding="utf-8")
    assert run(["select", "panda"]) == 0
    assert names(stages) == ["select"]
    table.write_text("altered", encoding="utf-8")
    capsys.readouterr()
    assert run(["select", "panda"]) == 0
    assert "was altered" in capsys.readouterr().err
    assert [(name, overwrite) for name, _, overwrite in stages] == [("select", False), ("select", True)]


def test_the_same_selection_from_a_changed_pool_is_not_reused(stages):
    make_pool(PLACE / "pool")
    assert run(["select", "panda"]) == 0
    make_pool(PLACE / "pool", images=4)
    assert run(["select", "panda"]) == 2
    assert run(["select", "panda", "--overwrite"]) == 0


def test_an_audit_is_reused_until_the_checkpoint_changes(stages, capsys):
    make_chain(PLACE)
    make_audit(PLACE / "audit", (PLACE / "erased").absolute())
    assert run(["audit"]) == 0
    assert "done already" in capsys.readouterr().err
    make_erased(PLACE / "erased", PLACE / "anchors", name="koala")
    assert run(["audit"]) == 2
    assert run(["audit", "--overwrite"]) == 0
    assert names(stages) == ["audit"]


@pytest.mark.parametrize("part", ["space.json", "audit.sarif", "added.txt"])
def test_an_altered_audit_is_not_told_again(stages, capsys, part):
    make_chain(PLACE)
    make_audit(PLACE / "audit", (PLACE / "erased").absolute(), verdict="fail")
    place = PLACE / "audit" / part
    place.write_text(place.read_text().replace('"fail"', '"pass"') if place.exists() else "more")
    assert run(["audit"]) == 4
    said = capsys.readouterr()
    assert "was altered" in said.err
    assert "--overwrite" in said.err
    assert "verdict" not in said.out
    assert run(["audit", "--overwrite"]) == 0


def test_another_workspace_is_named_in_the_hint(stages, capsys):
    assert run(["index", "images", "--workspace", "my work"]) == 0
    assert "next: space select CONCEPT --workspace 'my work'" in capsys.readouterr().err
    assert (Path("my work") / "pool" / "space.json").is_file()


def test_quiet_prints_the_path_alone(stages, tmp_path, capsys):
    assert run(["index", "images", "-q"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / '.space' / 'pool'}\n"
    assert not shown.err


def test_a_file_is_no_workspace(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageFault, match="is a file"):
        open_workspace(tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"concept": Concept(name="koala")}, "are for `panda`"),
        ({"concept": Concept(name="panda", aliases=("bear",))}, "are for `panda`"),
        ({"pool": "other"}, "another state of the pool"),
        ({"pool": None}, ""),
        ({"model": "other model"}, "with another model"),
        ({"model": None}, ""),
    ],
)
def test_anchors_are_stale_for_a_reason(change, reason, tmp_path):
    make_pool(tmp_path / "pool")
    make_pool(tmp_path / "other", images=5)
    make_model(tmp_path / "model")
    make_model(tmp_path / "other model")
    anchors = make_anchors(tmp_path / "anchors", tmp_path / "pool", model=tmp_path / "model")
    asked = {"concept": PANDA, "pool": "pool", "model": "model"} | change
    places = {key: tmp_path / asked[key] if asked[key] else None for key in ("pool", "model")}
    found = stale_anchors(anchors, asked["concept"], **places)
    assert bool(found) is bool(reason)
    assert reason in found


def test_a_model_edited_in_place_makes_anchors_stale(tmp_path):
    make_pool(tmp_path / "pool")
    model = make_model(tmp_path / "model")
    anchors = make_anchors(tmp_path / "anchors", tmp_path / "pool", model=model)
    make_model(model, "other weights")
    assert "another model" in stale_anchors(anchors, PANDA, pool=tmp_path / "pool", model=model)


def test_anchors_without_a_model_are_stale_for_one(tmp_path):
    make_pool(tmp_path / "pool")
    anchors = make_anchors(tmp_path / "anchors", tmp_path / "pool")
    assert "without a model" in stale_anchors(anchors, PANDA, pool=tmp_path / "pool", model=tmp_path)


def test_seconds_are_collected_along_the_chain(tmp_path):
    report = make_chain(tmp_path)
    assert stage_seconds(report) == {"index": 1.0, "select": 2.0, "erase": 4.0, "audit": 8.0}


def test_the_seconds_of_a_replaced_input_are_left_out(tmp_path):
    report = make_chain(tmp_path)
    make_pool(tmp_path / "pool", seconds=99.0)
    assert stage_seconds(report) == {"select": 2.0, "erase": 4.0, "audit": 8.0}


def test_audit_json_is_the_summary_alone(stages, tmp_path, capsys):
    make_chain(PLACE.absolute(), verdict="inconclusive")
    assert run(["audit", "--json"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"verdict", "concept", "scores", "seconds", "gates", "skipped", "report"}
    assert shown["verdict"] == "inconclusive"
    assert shown["scores"]["forget_accuracy"] == {
        **shown["scores"]["forget_accuracy"],
        **{"before": 0.95, "after": 0.01, "low": 0.0, "high": 0.03, "n": 120},
    }
    assert shown["seconds"] == {"index": 1.0, "select": 2.0, "erase": 4.0, "audit": 8.0}
    assert shown["report"] == str(tmp_path / ".space" / "audit" / "report.html")


def test_a_request_answered_by_another_kind_of_folder_is_not_done(tmp_path):
    make_pool(tmp_path / "pool")
    anchors = make_anchors(tmp_path / "anchors", tmp_path / "pool")
    assert done_already(tmp_path / "pool", anchors.request) is None
    assert done_already(tmp_path / "anchors", anchors.request) == anchors
    assert done_already(tmp_path / "none", anchors.request) is None
