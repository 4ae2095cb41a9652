"""Several requests in one run, and requests asked of a checkpoint that was erased from before."""

import json

from pathlib import Path

import pytest
import torch

from cli_records import common, make_anchors, make_pool, written

from space_cli.cli import requests
from space_cli.cli.app import run
from space_cli.core.records import ErasureReceipt, FileRecord
from space_cli.io.artifact import read_record, source_of
from tests.stages.erased_folder import make_base, make_edits, make_erased

PLACE = Path(".space")
DEADLY = set()
THREE = ["erase", "--concept", "panda", "--concept", "owl", "--concept", "bus", "--model", "model"]


def names(calls):
    return [name for name, _, _ in calls]


def concepts(calls):
    return [request.concept.name for name, request, _ in calls if name == "erase"]


@pytest.fixture
def erasures(stages, fake_stage, monkeypatch):
    """Stages whose erased folders say what they were asked; a run dies at the concepts in `DEADLY`."""
    DEADLY.clear()

    def erase(request, out, *, progress, overwrite=False):
        if request.concept.name in DEADLY:
            raise KeyboardInterrupt
        stages.append(("erase", request, overwrite))
        inputs = [source_of(Path(request.model), "checkpoint"), source_of(Path(request.anchors), "anchors")]
        told = {"history_on_anchors": 0.75, "rebound_on_anchors": 0.125} if "/requests/" in request.model else {}
        record = ErasureReceipt(
            **common(inputs, 1.0), request=request, dtype="F16", layers=[], steps=3, stopped="done", signals=told,
            base_files=[], requests=len(stages), used=0.25, meter="the meter says so",
        )  # fmt: skip
        return written(out, record)

    def select(request, out, *, progress, overwrite=False):
        stages.append(("select", request, overwrite))
        return make_anchors(out, Path(request.pool), model=Path(request.model), concept=request.concept)

    fake_stage("erase", erase)
    fake_stage("select", select)
    monkeypatch.setattr(requests, "check_continued", lambda folder, out, concepts, scope: 0)
    make_pool(PLACE / "pool")
    return stages


def test_each_request_is_asked_of_the_checkpoint_before_it(erasures, tmp_path, capsys):
    assert run(THREE) == 0
    assert names(erasures) == ["select", "erase"] * 3
    assert concepts(erasures) == ["panda", "owl", "bus"]
    asked = [request for name, request, _ in erasures if name == "erase"]
    assert asked[0].model == str(tmp_path / "model")
    folders = [path for path in (PLACE / "requests").iterdir() if (path / "erased").is_dir()]
    assert len(folders) == 2
    assert {asked[1].model, asked[2].model} == {str(tmp_path / path / "erased") for path in folders}
    assert (PLACE / "erased" / "space.json").is_file()
    assert len({request.anchors for request in asked}) == 3
    shown = capsys.readouterr()
    assert "request 2 of 3: owl" in shown.err
    assert "the meter says so" in shown.err
    assert "free directions used" in shown.out
    rows = [line.split("│")[-4:-1] for line in shown.out.splitlines() if line.count("│") == 8]
    shares = [[cell.strip() for cell in row] for row in rows]
    assert shares == [["25.0 %", "-", "-"], *[["25.0 %", "75.0 %", "12.5 %"]] * 2]
    assert not any(name in path.name for path in folders for name in ("panda", "owl", "bus"))


def test_who_tries_names_cannot_make_the_name_of_a_folder(erasures):
    """Paths of inputs stand in reports: the same request on a pool of another day has another folder."""

    def folders():
        return {path.name for path in (PLACE / "requests").iterdir()}

    assert run(THREE) == 0
    first = folders()
    assert run([*THREE, "--overwrite"]) == 0
    assert folders() == first
    make_pool(PLACE / "pool", seconds=2.0)
    assert run([*THREE, "--overwrite"]) == 0
    assert len(folders()) == 2 * len(first)


def test_a_killed_run_goes_on_where_it_was(erasures, capsys):
    DEADLY.add("owl")
    assert run(THREE) == 130
    assert concepts(erasures) == ["panda"]
    assert not (PLACE / "erased").exists()
    DEADLY.clear()
    assert run(THREE) == 0
    assert concepts(erasures) == ["panda", "owl", "bus"]
    assert "`panda` is done already" in capsys.readouterr().err


def test_what_an_interrupted_run_finished_is_made_anew_where_it_was_damaged(erasures):
    DEADLY.add("owl")
    assert run(THREE) == 130
    DEADLY.clear()
    (folder,) = [path.parent for path in PLACE.glob("requests/*/erased/space.json")]
    lost = FileRecord(path="model.safetensors", sha256="0" * 64, bytes=1)
    written(folder, read_record(folder).model_copy(update={"files": [lost]}))
    assert run(THREE) == 0
    assert concepts(erasures) == ["panda", "panda", "owl", "bus"]


def test_json_is_the_last_receipt_alone(erasures, capsys):
    assert run([*THREE, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["request"]["concept"]["name"] == "bus"


def test_one_concept_stays_as_it_was(erasures):
    assert run(["erase", "--concept", "panda", "--model", "model"]) == 0
    assert erasures[-1][1].anchors.endswith(".space/anchors")
    assert not (PLACE / "requests").exists()


def test_a_checkpoint_that_was_erased_from_keeps_the_anchors_it_was_made_with(erasures, monkeypatch):
    monkeypatch.setattr(requests, "check_continued", lambda folder, out, concepts, scope: 1)
    assert run(["erase", "--concept", "panda", "--model", "model"]) == 0
    assert "/requests/" in erasures[-1][1].anchors
    assert not (PLACE / "anchors").exists()
    assert (PLACE / "erased" / "space.json").is_file()


def test_concepts_come_from_a_file_too(erasures):
    Path("list.txt").write_text("# animals\n\n owl  # at night\nred panda\n", encoding="utf-8")
    assert run(["erase", "--concept", "bus", "--concepts-file", "list.txt", "--model", "model"]) == 0
    assert concepts(erasures) == ["bus", "owl", "red panda"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no concept"),
        ("# nothing\n   \n", "names no concept"),
        ("owl\nOWL\n", "is named twice"),
        (b"\xff\xfe\xff", "is not UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(erasures, capsys, content, message):
    if content is not None:
        Path("list.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run(["erase", "--concepts-file", "list.txt", "--model", "model"]) == 2
    assert message in capsys.readouterr().err
    assert not erasures


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--concept", "Panda"], "`Panda` is named twice"),
        (["--alias", "bear"], "`--alias` belongs to one concept: 3 were named"),
        (["--kind", "animal"], "`--kind` belongs to one concept"),
        (["--forget-images", "images"], "`--forget-images` belongs to one concept"),
    ],
)
def test_what_fits_one_concept_only_is_refused(erasures, capsys, more, message):
    assert run([*THREE, *more]) == 2
    assert message in capsys.readouterr().err
    assert not erasures


def test_a_dry_run_names_every_concept(erasures, capsys):
    assert run([*THREE, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == {"concepts": ["panda", "owl", "bus"]}
    assert not erasures


def test_the_checkpoint_itself_is_no_place_to_write(stages, capsys):
    make_pool(PLACE / "pool")
    assert run(["erase", "--concept", "panda", "--model", "model", "--out", "model", "--overwrite"]) == 2
    assert "is the checkpoint to erase from" in capsys.readouterr().err


def test_a_ledger_that_is_gone_stops_a_run_before_it_selects(stages, capsys):
    make_pool(PLACE / "pool")
    make_anchors(PLACE / "anchors", (PLACE / "pool").absolute(), model=Path("model").absolute())
    (Path("model") / "space.json").write_text((PLACE / "anchors" / "space.json").read_text())
    assert run(["erase", "--concept", "panda", "--model", "model"]) == 4
    assert "ledger.jsonl is missing" in capsys.readouterr().err
    assert not stages


def test_anchors_kept_of_another_scope_stop_a_run_before_it_selects(stages, capsys):
    make_pool(PLACE / "pool")
    erased = make_erased(Path("erased"), make_base(Path("base"), torch.float32), edits=make_edits())
    assert run(["erase", "--concept", "owl", "--model", str(erased), "--scope", "vision"]) == 4
    assert "holds anchors of another scope" in capsys.readouterr().err
    assert not stages
