import json

from dataclasses import replace

import pytest
import torch

from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import bundled, large, page
from benchmarks.gpu.shapes import CONCEPT, SHAPES, llava_config, write_llava
from benchmarks.index_throughput import photographs
from space_cli.core.protocols import Silent
from space_cli.core.types import Anchor, Item
from space_cli.families.llava import family
from space_cli.io.artifact import digest_file
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.model import CheckpointResponder
from space_cli.io.subject import Aim, subject_of
from space_cli.methods import dcsi

SMALL = replace(SHAPES["tiny"], images=9, roles={"forget": 2, "holdout": 2, "neighbour": 2, "general": 3})


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(command.SHAPES, "tiny", SMALL)


def arguments(place):
    return [
        *("--shape", "tiny", "--device", "cpu", "--part", "shape", "--steps", "2", "--commit", "abc"),
        *("--out", str(place / "out"), "--work", str(place / "work")),
    ]


def results_of(place):
    return json.loads((place / "out" / "gpu.json").read_text("utf-8"))


def test_every_step_of_a_shape_is_measured_and_only_what_is_missing_again(tmp_path, small):
    assert command.main(arguments(tmp_path)) == 0
    first = results_of(tmp_path)
    steps = first["shape_steps"]
    assert set(steps) == set(large.STEPS) == set(page.STEPS)
    assert all(row["seconds"] > 0 and row["peak_resident_gb"] > 0 for row in steps.values())
    assert steps["erase"]["finished"]
    assert steps["erase"]["steps"] == 2
    assert steps["index"]["images"] == SMALL.images
    assert "one erasure with `dcsi` |" in (tmp_path / "out" / "gpu.md").read_text("utf-8")
    first["shape_steps"].pop("write")
    (tmp_path / "out" / "gpu.json").write_text(json.dumps(first), "utf-8")
    assert command.main(arguments(tmp_path)) == 0
    second = results_of(tmp_path)["shape_steps"]
    assert second.pop("write")["gb"] >= 0
    assert second == first["shape_steps"]


def test_an_erasure_that_ran_out_of_time_is_told_and_done_again(tmp_path, small):
    assert command.main([*arguments(tmp_path), "--seconds", "0"]) == 1
    erased = results_of(tmp_path)["shape_steps"]["erase"]
    assert (erased["finished"], erased["steps"]) == (False, 1)
    assert "1 steps were done (the time of the benchmark was over)" in (tmp_path / "out" / "gpu.md").read_text("utf-8")
    assert command.main(arguments(tmp_path)) == 0
    assert results_of(tmp_path)["shape_steps"]["erase"]["finished"]


def test_figures_of_another_commit_are_left_behind(tmp_path):
    head = {"shape": "tiny", "commit": "abc", "machine": {"device": "cpu", "torch": "2"}}
    old = {**head, "bundled": {"cpu": {}}, "bundled_ratio": {}, "shape_steps": {}}
    (tmp_path / "gpu.json").write_text(json.dumps(old), "utf-8")
    assert not command.Results(tmp_path, head).lacks("bundled", "cpu")
    assert command.Results(tmp_path, {**head, "commit": "def"}).lacks("bundled", "cpu")


def test_a_part_that_is_not_measured_stays_under_the_head_of_its_own_run(tmp_path):
    machine = {"device": "cpu", "cores": 2, "processor": "P", "ram_gb": 8, "torch": "2"}
    head = {"command": "first", "shape": "tiny", "commit": "abc", "machine": machine}
    step = {"seconds": 1.5, "finished": True}
    command.Results(tmp_path, head).keep("shape_steps", "index", step)
    second = command.Results(tmp_path, {**head, "command": "second", "commit": "def"}, ["bundled"])
    second.keep("bundled", "cpu", {"finished": False, "exit_code": 5, "message": "full"})
    told = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert told["shape_steps"] == {"index": step}
    assert [told["heads"][part]["commit"] for part in ("bundled", "shape")] == ["def", "abc"]
    written = (tmp_path / "gpu.md").read_text("utf-8")
    assert written.index("`second` at commit `def`") < written.index("`first` at commit `abc`")


def test_the_published_shape_has_the_published_sizes():
    config = llava_config(SHAPES["llava-1.5-7b"])
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    # The checkpoint on the hub: 7,063,427,072 parameters, 576 visual tokens.
    assert sum(parameter.numel() for parameter in model.parameters()) == 7_063_427_072
    assert family(config.to_dict()).visual_tokens == 576
    assert len(family(config.to_dict()).layers("mlp")) == 25


def test_a_demo_that_fails_is_told_and_gives_no_ratio():
    row = bundled.demo("cpu", "no such thing", 0)
    assert row["exit_code"] == 3
    assert "no such thing" in row["message"]
    done = {"finished": True, "seconds": {"erase": 6.0, "audit": 1.0}}
    assert not bundled.ratios({"cuda": row, "cpu": done})
    fast = {"finished": True, "seconds": {"erase": 2.0, "audit": 4.0}}
    assert bundled.ratios({"cuda": fast, "cpu": done}) == {"erase": 3.0, "audit": 0.25}


def test_bfloat16_weights_are_erased_from_with_float32_factors(tmp_path):
    """On a GPU weights keep the checkpoint's dtype, which `open_model` makes float32 on a CPU."""
    write_llava(SMALL, tmp_path / "llava", "cpu")
    stored = open_checkpoint(tmp_path / "llava")
    assert {info.dtype for info in stored.parameters.values()} == {"BF16"}
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "llava", dtype="auto").eval().requires_grad_(False)
    responder = CheckpointResponder(
        model,
        AutoTokenizer.from_pretrained(tmp_path / "llava"),
        AutoImageProcessor.from_pretrained(tmp_path / "llava"),
        family(stored.config),
    )
    files = sorted(photographs(tmp_path / "images", SMALL.images).iterdir())
    items = iter([Item(digest_file(file), str(file.parent), file.name, 640, 480) for file in files])
    anchors = [Anchor(next(items), role, 0.0, None) for role, count in SMALL.roles.items() for _ in range(count)]
    context = subject_of(responder, anchors, Aim(CONCEPT, "mlp", 0, 0.4), progress=Silent())
    assert context.features.dtype == torch.bfloat16
    rows = []
    context.record = rows.append
    edits = list(dcsi.edits(context, dcsi.Options(steps=2, refresh=1, check=1, harden_steps=2)))
    assert {edit.layer for edit in edits} == set(context.layers)
    assert all(edit.left.dtype == edit.right.dtype == torch.float32 for edit in edits)
    assert all(edit.left.isfinite().all() and edit.left.norm() > 0 for edit in edits)
    assert all(torch.tensor(list(row.values())).isfinite().all() for row in rows)
