"""Rows computed in one process: a subject is opened once a concept, and every entry is tried on it in memory.

`space erase` and `space audit` spend most of their time on what is the same for every entry: opening the checkpoint,
asking it about the anchors, asking it about the photographs before erasing. Here the stages' own functions are called
one after the other on a base that stays open, and the edits are written into a second copy of it as the checkpoint
would store them, so that the scores are those of the commands. What a command costs is measured with the commands
(`cells`, `python -m benchmarks.league costs`).
"""

import os
import shutil
import tempfile
import time

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from torch import Tensor

from benchmarks.league.bands import by_band
from benchmarks.league.cells import CACHE, CellFailure, Measures, circumstances, named, prepared, selected
from benchmarks.league.entries import NO_LIMITS, Entry
from benchmarks.league.probing import probe_of
from benchmarks.league.subjects import Job
from benchmarks.tables import Row, outcome, refusal
from space_cli.core.asking import named_rightly
from space_cli.core.budget import within_budget
from space_cli.core.context import Budget, EditContext, Outcome
from space_cli.core.errors import GateRefusal, SpaceError
from space_cli.core.examining import Found, assault, every_score, measure, usual_metrics
from space_cli.core.gating import judge
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder, Silent
from space_cli.core.recipe import EraseRequest
from space_cli.core.records import LayerReceipt
from space_cli.core.remembering import Looks, Remembering
from space_cli.core.types import Edit, Probe
from space_cli.io.anchors import open_anchors
from space_cli.io.artifact import source_of
from space_cli.io.chat_template import write_instruction
from space_cli.io.model import CheckpointResponder, open_model
from space_cli.io.probe import material_behind, open_policy
from space_cli.io.subject import Aim, concept_images, subject_of
from space_cli.stages.editing import Base, edited_weights, layer_receipts, on_cpu, open_base, rounded_changes
from space_cli.stages.erase import method_of

OVER = "over_budget"
"""Among the signals of an erasure that `space erase` would have refused, and that was measured all the same."""
OPEN_AT_ONCE = 2
"""Concepts kept in memory, so that a search that goes from one to the other and back opens each of them once."""


def compute(entry: Entry, job: Job, measures: Measures) -> Row:
    """Compute one row; as `cells.compute`, but for what only a command has: its seconds and its memory.

    Raises:
        CellFailure: A stage failed for another reason than a gate.
    """
    load = os.getloadavg()[0]
    workspace, refused = selected(entry, job, prepared(job, CACHE))
    found: Row
    try:
        found = refused or _bench(entry.scope, workspace, job, measures.limit).tried(entry, measures)
    except GateRefusal as gate:
        hint = f"\nhint: {gate.hint}" if gate.hint else ""
        found = refusal(gate.exit_code, f"error: {gate.message}{hint}") | {"refused_by": "erase", "bands": {}}
    except SpaceError as fault:
        raise CellFailure(f"exit code {fault.exit_code}: {fault.message}") from fault
    return named(entry, job) | found | circumstances(workspace, load=load, threads=torch.get_num_threads())


@contextmanager
def opened(entry: Entry, job: Job) -> Generator[tuple[Responder, Responder, Probe]]:
    """Give the base, the checkpoint that an entry erased from, and what an audit asks them, for a `with` block.

    Raises:
        CellFailure: A stage failed or refused.
    """
    workspace, refused = selected(entry, job, prepared(job, CACHE))
    if refused:
        raise CellFailure(refused["reason"])
    try:
        bench = _bench(entry.scope, workspace, job, None)
        made = bench.made(entry, weigh=True)
    except SpaceError as fault:
        raise CellFailure(f"exit code {fault.exit_code}: {fault.message}") from fault
    with bench.written(made) as erased:
        yield bench.context.responder, erased, bench.probes[entry.images]


@dataclass(frozen=True)
class Made:
    """An erasure."""

    edited: Mapping[str, Tensor]  # W + ΔW of each layer that was changed
    receipt: Row  # what a row keeps of it
    seconds: float  # of training
    instruction: str = ""


@dataclass(frozen=True)
class Bench:
    """A concept of an open checkpoint: what an erasure starts from and what an audit asks about."""

    job: Job
    place: Path  # of its pictures
    anchors: Path
    base: Base
    context: EditContext
    scope: str
    erased: CheckpointResponder  # a second copy, which edits are written into and taken out of
    before: Remembering
    looks: Looks
    probes: dict[bool, Probe]  # by whether erasing trained on images of the concept

    def tried(self, entry: Entry, measures: Measures) -> Row:
        """Erase, ask, and undo it.

        Raises:
            GateRefusal: As `space erase`.
        """
        made = self.made(entry, weigh=not measures.scores_only)
        started = time.monotonic()
        with self.written(made) as erased:
            found, bands = self.asked(erased, self.probes[entry.images], measures)
        seconds = {"training": made.seconds, "asking": round(time.monotonic() - started, 3)}
        told = {
            "verdict": judge(open_policy(None, known=every_score())[0], found.scores, found.skipped)[0],
            "scores": {name: score.model_dump() for name, score in found.scores.items()},
            "seconds": seconds,
            "skipped": found.skipped,
        }
        spent = {"spent": found.seconds} if measures.attacks else {}
        return outcome(told, made.receipt) | {"peak_memory_gb": None, "bands": bands} | spent

    def made(self, entry: Entry, *, weigh: bool) -> Made:
        """Erase; with `weigh`, look at what it costs as well."""
        request = self.request(entry)
        limits = Budget(request.max_retain_kl, request.max_neighbour_loss)
        context = replace(self.context, outcome=Outcome(), budget=limits, max_change=request.max_change)
        method, options = method_of(request)
        started = time.monotonic()
        edits = [on_cpu(edit) for edit in method.edits(context, options)]
        seconds = round(time.monotonic() - started, 3)
        edited = edited_weights(self.base, edits)
        layers, signals = self._weighed(context, edits, edited, entry) if weigh else ([], {})
        receipt = {
            "layers": [layer.model_dump() for layer in layers],
            "steps": context.outcome.steps,
            "stopped": context.outcome.stopped,
            "signals": context.outcome.signals | signals,
        }
        return Made(edited, receipt, seconds, context.outcome.instruction)

    def _weighed(
        self, context: EditContext, edits: list[Edit], edited: Mapping[str, Tensor], entry: Entry
    ) -> tuple[list[LayerReceipt], dict[str, float]]:
        """Return what the receipt says about layers and budgets.

        Raises:
            GateRefusal: A budget would break, and the entry is one that has to keep it.
        """
        rounded = rounded_changes(self.base, edited)
        try:
            signals = within_budget(context, rounded, entry.method)
        except GateRefusal as gate:
            if entry.gated or not gate.figures:
                raise
            signals = {**gate.figures, OVER: 1.0}
        return layer_receipts(context, self.base, edits, rounded), signals

    def request(self, entry: Entry) -> EraseRequest:
        """Return what `space erase` would be asked."""
        fields: dict[str, Any] = {"scope": entry.scope} | ({} if entry.limited else NO_LIMITS)
        return EraseRequest(
            concept=self.context.concept,
            model=str(self.job.subject.model),
            anchors=str(self.anchors),
            forget_images=str(self.place / "forget") if entry.images else None,
            method=entry.method,
            options=dict(entry.settings),
            seed=self.job.seed,
            **fields,
        )

    @contextmanager
    def written(self, made: Made) -> Generator[CheckpointResponder]:
        """Give the erased checkpoint for the length of a `with` block.

        The second copy holds W + ΔW, rounded as the checkpoint stores it; an instruction needs a copy on disk.
        """
        if made.instruction:
            with tempfile.TemporaryDirectory(dir=self.place) as folder:
                yield self._instructed(Path(folder) / "erased", made.instruction)
            return
        kept: dict[str, Tensor] = {}
        try:
            for layer, edited in made.edited.items():
                weight = self._weight(layer)
                kept[layer] = weight.clone()
                weight.copy_(edited)
            yield self.erased
        finally:
            for layer, before in kept.items():
                self._weight(layer).copy_(before)

    def _weight(self, layer: str) -> Tensor:
        weight: Tensor = self.erased.model.get_parameter(f"{layer}.weight").detach()
        return weight

    def _instructed(self, folder: Path, instruction: str) -> CheckpointResponder:
        shutil.copytree(self.base.folder, folder)
        write_instruction(self.base.checkpoint, folder, instruction)
        return open_model(folder, device="auto").upstream(self.scope)

    def asked(
        self, erased: CheckpointResponder, probe: Probe, measures: Measures
    ) -> tuple[Found, Mapping[str, Mapping[str, float]]]:
        """Return what an audit of the erased checkpoint finds, and how neighbours of each band are named."""
        both = self.before, Remembering(erased, self.looks)
        lacking = dict.fromkeys(probe.__dataclass_fields__, "a benchmark offers nothing of the kind")
        found = measure(measures.metrics or usual_metrics(), both, probe, lacking, Silent())
        if measures.attacks:
            found.join(assault(measures.attacks, both, probe, lacking, Silent()))
        if not measures.bands:
            return found, {}
        old, new = (named_rightly(one, probe.retain, AUDIT_OPEN[:1], probe) for one in both)
        return found, by_band([one.name for one in probe.retain], probe.names, old, new)


@lru_cache(maxsize=OPEN_AT_ONCE)
def _bench(scope: str, workspace: Path, job: Job, limit: int | None) -> Bench:
    """Open a concept with the anchors that were selected in a workspace."""
    place, folder = workspace.parent, workspace / "anchors"
    manifest, anchors = open_anchors(folder)
    concept = manifest.request.concept
    fields: dict[str, Any] = {"scope": scope}
    request = EraseRequest(concept=concept, model=str(job.subject.model), anchors=str(folder), **fields)
    # Looks are shared by both: upstream of the edits they see alike.
    opened, erased = (open_model(job.subject.model, device="auto").upstream(scope) for _ in range(2))
    images = concept_images(str(place / "forget"), Silent())
    aim = Aim(concept, request.scope, job.seed, request.max_change, images)
    context = subject_of(opened, anchors, aim, progress=Silent())
    context.moment(context.layers[0])  # all layers' at once, for every entry that stays clear of retained knowledge
    looks = Looks()
    material = material_behind([source_of(folder, "anchors")], trained=False, seed=job.seed)
    shown = probe_of(concept, place / "probe", folder, seed=job.seed, device=str(opened.device), limit=limit)
    shown = replace(shown, holdout=material.holdout, general=material.general)
    return Bench(
        job=job,
        place=place,
        anchors=folder,
        base=open_base(request, place / "erased"),
        context=context,
        scope=scope,
        erased=erased,
        before=Remembering(opened, looks),
        looks=looks,
        probes={trained: replace(shown, used=images if trained else material.used) for trained in (False, True)},
    )
