"""The chain's steps at one shape, each timed: build, index, write, subject, basis, erase."""

import os
import shutil
import time

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from statistics import mean, median

import torch

from torch import Tensor

from benchmarks.gpu.measuring import Cost, measured
from benchmarks.gpu.shapes import CONCEPT, Shape, write_encoder, write_llava
from benchmarks.index_throughput import photographs
from benchmarks.tables import Row
from space_cli.core import phrasing
from space_cli.core.context import EditContext
from space_cli.core.memory import rows_at_once
from space_cli.core.naming import Naming
from space_cli.core.protocols import Silent
from space_cli.core.recipe import IndexRequest
from space_cli.core.types import Anchor, Edit, Prompt
from space_cli.io.artifact import RECORD_NAME, file_records
from space_cli.io.checkpoint import open_checkpoint, write_edited
from space_cli.io.edits import write_edits
from space_cli.io.families import family_of
from space_cli.io.pool import open_pool
from space_cli.io.subject import Aim, open_subject
from space_cli.methods import dcsi
from space_cli.stages.index import index

SCOPE, MAX_CHANGE = "mlp", 0.4  # defaults of `space erase`
STEPS = ("build", "index", "write", "subject", "basis", "erase")

Keep = Callable[[Row], None]
"""Stores what is known of a step so far."""


@dataclass(frozen=True)
class Bench:
    """Where the shape is measured and what it may take."""

    shape: Shape
    device: str
    work: Path
    steps: int
    deadline: float  # time.monotonic() at which a run in progress is stopped

    @property
    def checkpoint(self) -> Path:
        """Where the LLaVA lies."""
        return self.work / "llava"


class _OutOfTimeError(Exception):
    """The deadline has passed between two training steps."""


def build(bench: Bench) -> Row:
    """Write checkpoint, encoder and pictures."""
    shutil.rmtree(bench.work, ignore_errors=True)
    bench.work.mkdir(parents=True)
    with measured(bench.device) as cost:
        write_llava(bench.shape, bench.checkpoint, bench.device)
        write_encoder(bench.shape, bench.work / "encoder", bench.device)
        photographs(bench.work / "images", bench.shape.images)
    (bench.work / "complete").touch()
    sizes = [path.stat().st_size for path in bench.checkpoint.rglob("*.safetensors")]
    return cost.row() | {"checkpoint_gb": round(sum(sizes) / 1e9, 2), "shards": len(sizes)}


def built(bench: Bench) -> bool:
    """Tell whether an earlier run left all of it."""
    return (bench.work / "complete").is_file()


def indexed(bench: Bench) -> bool:
    """Tell whether the pool is there."""
    return (bench.work / "pool" / RECORD_NAME).is_file()


def index_pool(bench: Bench) -> Row:
    """Index the pictures twice: with the default number of decoders and with one a core; the second pool stays."""
    row: Row = {}
    for name, workers in (("", None), ("every_core_", os.cpu_count() or 1)):
        request = IndexRequest(
            sources=(str(bench.work / "images"),), encoder=str(bench.work / "encoder"), device=bench.device
        )
        request = request if workers is None else request.model_copy(update={"workers": workers})
        with measured(bench.device) as cost:
            pool = index(request, bench.work / "pool", progress=Silent(), overwrite=True)
        row |= {f"{name}{key}": value for key, value in cost.row().items()}
        row |= {f"{name}workers": request.workers, f"{name}images_per_second": round(pool.images / cost.seconds, 1)}
    return row | {"images": pool.images}


def write(bench: Bench) -> Row:
    """Write an edited copy; its change is drawn at random, since writing costs the same whatever it holds."""
    checkpoint, family = open_checkpoint(bench.checkpoint), family_of(bench.checkpoint)
    generator = torch.Generator().manual_seed(0)
    edits, deltas = [], {}
    for layer in family.layers(SCOPE):
        parameter = family.parameter(layer, checkpoint.parameters)
        wide, narrow = checkpoint.parameters[parameter].shape
        rank = min(dcsi.Options().rank, narrow)
        left, right = (torch.randn(size, generator=generator) / 1e3 for size in ((wide, rank), (rank, narrow)))
        edits.append(Edit(layer, left, right))
        deltas[parameter] = edits[-1].delta
    out = bench.work / "erased"
    shutil.rmtree(out, ignore_errors=True)
    with measured(bench.device) as cost:
        write_edited(checkpoint, deltas, out)
        write_edits(out / "space" / "edits.safetensors", edits)
    with measured(bench.device) as digests:
        files = file_records(out)
    written = sum(file.bytes for file in files)
    shutil.rmtree(out)
    return cost.row() | {"gb": round(written / 1e9, 2), "digest_seconds": round(digests.seconds, 2)}


def open_all(bench: Bench) -> tuple[EditContext, Row]:
    """Load the checkpoint, read the anchors and ask it about them; the images have their roles in pool order."""
    items = iter(open_pool(bench.work / "pool").items)
    anchors = [
        Anchor(item, role, 0.0, None) for role, count in bench.shape.roles.items() for item in islice(items, count)
    ]
    aim = Aim(CONCEPT, SCOPE, 0, MAX_CHANGE)
    with measured(bench.device) as cost:
        context = open_subject(bench.checkpoint, anchors, aim, device=bench.device, progress=Silent())
    # Random weights affirm nothing, and one term of the erasure trains on what was affirmed.
    yes = tuple(
        Prompt(phrasing.ERASE_YES_NO[row % 2].format(phrase=CONCEPT.spoken), "Yes", row)
        for row in context.rows["general"]
    )
    context.knowledge = replace(context.knowledge, affirmed=yes)
    found = context.knowledge
    told = {"anchors": len(anchors), "retained_prompts": len(found.retained), "text_prompts": len(found.texts)}
    told["words_an_answer"] = round(mean(len(prompt.answer.split()) for prompt in found.own), 1)
    return context, cost.row() | told


def bases(context: EditContext, device: str) -> tuple[dict[str, Tensor], Row]:
    """Return the safe basis of each layer on the CPU, so that the erasure need not hold or compute it again."""
    leak = dcsi.Options().leak
    with measured(device) as moments:
        context.moment(context.layers[0])
    found: dict[str, Tensor] = {}
    slowest = 0.0
    with measured(device) as cost:
        for layer in context.layers:
            started = time.perf_counter()
            found[layer] = context.safe_basis(layer, leak).cpu()
            slowest = max(slowest, time.perf_counter() - started)
    told = {"layers": len(found), "widest": max(map(len, found.values())), "slowest_layer_seconds": round(slowest, 2)}
    summed = {f"moments_{name}": value for name, value in moments.row().items()}
    return found, cost.row() | summed | told


def erase(bench: Bench, context: EditContext, found: dict[str, Tensor], keep: Keep) -> Row:
    """Run the method with its default batch, keeping what is known of it as it goes."""
    where = context.features.device
    # They are timed by themselves, before.
    context.safe_basis = lambda layer, leak: found[layer].to(where)
    row: Row = _kept(context) | {"finished": False, "steps": 0}
    # Random weights name nothing, so the stop rule would end the run at its second look: there are two, the last at
    # the end.
    check = max(1, bench.steps // 2)
    # Steps that rehearse are steps like these; as many as were asked for are timed.
    options = dcsi.Options(steps=bench.steps, check=check, rehearsals=0)
    row |= {"refresh": options.refresh, "check": check}
    stamps: list[float] = []
    cost = Cost()

    def record(figures: dict[str, float]) -> None:
        stamps.append(time.perf_counter())
        row["steps"], row["loss"] = int(figures["step"]), round(figures["loss"], 4)
        if len(stamps) % options.refresh == 0:
            keep(row | _paces(stamps, options))
        if time.monotonic() > bench.deadline:
            raise _OutOfTimeError

    context.record = record
    started = time.perf_counter()
    try:
        with measured(bench.device) as cost:
            made = list(dcsi.edits(context, options))
        row |= {"finished": True, "stopped": context.outcome.stopped, "edited_layers": len(made)}
    except torch.OutOfMemoryError as failure:
        row["stopped"] = f"out of device memory: {str(failure).splitlines()[0]}"
    except _OutOfTimeError:
        row["stopped"] = "the time of the benchmark was over"
    row |= cost.row() | (_paces(stamps, options) if stamps else {})
    return row | ({"preparation_seconds": round(stamps[0] - started, 2)} if stamps else {})


def _paces(stamps: list[float], options: dcsi.Options) -> Row:
    """Return the median seconds of a step, and of one that hardens anchors again; those with a look are left out."""
    plain, hardened = [], []
    # The first stamp ends the first step, whose beginning is not known.
    for step, (before, after) in enumerate(pairwise(stamps), start=1):
        if (step + 1) % options.check:
            (plain if step % options.refresh else hardened).append(after - before)
    found = {"seconds_a_step": plain, "seconds_a_step_with_hardening": hardened}
    return {name: round(median(values), 3) for name, values in found.items() if values}


def _kept(context: EditContext) -> Row:
    """Return what a row of a training step keeps for its backward pass, and how many rows are kept together."""
    told: Row = {"rows_at_once": rows_at_once(context.responder.model, context.features.shape[1])}
    if context.features.device.type != "cuda":
        return told
    naming = Naming(context.responder, context.concept, context.knowledge.forms, context.seed)
    held = []
    for rows in (1, 2):
        features = context.of_role("forget")[:rows].detach().requires_grad_(True)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        value = naming.of(naming.names[0], features)
        held.append(torch.cuda.memory_allocated() - before)
        del value
    return told | {"kept_gb_a_row": round((held[1] - held[0]) / 1e9, 3)}
