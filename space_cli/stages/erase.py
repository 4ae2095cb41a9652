"""Erase a concept: a method's edits, gated by what they cost, written as a drop-in checkpoint with a receipt."""

import json
import math
import shlex

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from torch import Tensor

from space_cli import __version__
from space_cli.core import registry
from space_cli.core.budget import within_budget
from space_cli.core.context import Budget, EditContext, Outcome
from space_cli.core.continual import on_anchors, undone
from space_cli.core.errors import ArtifactFault
from space_cli.core.forget_set import check_images
from space_cli.core.keeping import kept_anchors
from space_cli.core.ledger import checkpoint_digest
from space_cli.core.meter import by_layer, reading, spent_share, used_share
from space_cli.core.plugin_options import fitted
from space_cli.core.protocols import Progress
from space_cli.core.recipe import EraseRequest
from space_cli.core.records import AnchorsManifest, ErasureReceipt, LayerReceipt, Source
from space_cli.core.subspace import LEAK
from space_cli.core.types import Anchor, Edit
from space_cli.io.anchors import TABLE, open_anchors
from space_cli.io.artifact import Draft, digest_file, new_artifact, source_of
from space_cli.io.chat_template import write_instruction
from space_cli.io.checkpoint import Checkpoint, bytes_to_write, open_checkpoint, resolve, write_edited
from space_cli.io.editable import editable_parameters
from space_cli.io.edits import EDITS, write_edits
from space_cli.io.families import family_of
from space_cli.io.kept import write_kept
from space_cli.io.ledger import carry, close_ledger, files_of, open_earlier, open_edits
from space_cli.io.state import MetricsLog, StateStore
from space_cli.io.storage import require_space
from space_cli.io.subject import Aim, concept_images, open_subject
from space_cli.stages.editing import Base, edited_weights, layer_receipts, on_cpu, open_base, rounded_changes

STATE = "space/state.safetensors"
"""What a run that is cut short continues from; no part of the finished folder."""


@dataclass(frozen=True)
class _Origin:
    """What an erasure was made from."""

    inputs: list[Source]
    facts: dict[str, Any]  # of the ledger's new line


def erase(request: EraseRequest, out: Path, *, progress: Progress, overwrite: bool = False) -> ErasureReceipt:
    """Make the checkpoint forget, and write it with a receipt.

    Args:
        request: Concept, checkpoint, anchors, method and budgets.
        out: Folder of the new checkpoint.
        progress: Where bars go.
        overwrite: Replace an erased folder of ours.

    Returns:
        The receipt on disk.

    Raises:
        GateRefusal: The retain budget would break; nothing is written.
        ArtifactFault: The checkpoint, its ledger or the anchors do not fit.
        EnvironmentFault: The disk has no space for the result.
        UsageFault: The method or its options are unknown, images of the concept are missing or of no use to it, the
            concept was erased already, or `out` is the checkpoint itself.
    """
    method, options = method_of(request)
    progress.note("taking the digests of the checkpoint")
    base = open_base(request, out)
    # Before anything is looked at: another run may replace the anchors while this one trains.
    origin = _Origin(_inputs(request, source_of(base.folder, "checkpoint", base.files)), _facts(request, base))
    manifest, anchors = open_anchors(Path(request.anchors))
    _require_fresh(manifest, request)
    with new_artifact(out, _identity(request, options, origin.inputs), overwrite=overwrite) as draft:
        _require_space(base, draft, weights=getattr(method, "CHANGES_WEIGHTS", True))
        earlier = open_edits(base.folder, base.entries)
        context = _context(request, base, anchors, earlier, draft, progress)
        found = [on_cpu(edit) for edit in method.edits(context, options)]
        edited = edited_weights(base, found)
        rounded = rounded_changes(base, edited)
        signals = within_budget(context, rounded, request.method)
        if rounded:  # what an instruction alone does is seen by asking the folder, once it is written
            signals |= on_anchors(context, earlier, rounded)
        layers = layer_receipts(context, base, found, rounded)
        if base.entries:
            layers = _metered(context, layers, [*earlier, found])
        progress.note("writing the checkpoint")
        _write(base, context, (found, edited), draft)
        context.outcome.signals |= signals
        record = _receipt(request, base, origin, context.outcome, layers, draft)
        draft.finish(record)
        # Not before: a run that is killed while its digests are taken would train anew.
        (draft.path / STATE).unlink(missing_ok=True)
    return record


def plan(request: EraseRequest) -> dict[str, Any]:
    """Say what `erase` would touch and need, from headers alone."""
    _, options = method_of(request)
    folder = resolve(request.model, request.revision)
    checkpoint = open_checkpoint(folder)
    family = family_of(folder)
    sizes = {name: info.shape for name, info in checkpoint.parameters.items()}
    touched = list(editable_parameters(checkpoint, family, request.scope).values())
    weights = sum(_bytes(checkpoint, name) for name in sizes)
    count = sum(math.prod(shape) for shape in sizes.values())
    # Float64 moments of retained keys and of anchor keys.
    moments = sum(2 * 8 * sizes[name][1] ** 2 for name in touched)
    widest = max(sizes[name][1] for name in touched)
    return {
        "method": request.method,
        "options": options.model_dump(),
        "forget_images": request.forget_images,
        "checkpoint": str(folder),
        "family": family.model_type,
        "layers": touched,
        "edited_parameters": sum(sizes[name][0] * sizes[name][1] for name in touched),
        "parameters": count,
        "checkpoint_bytes": weights,
        # float32 weights on a CPU, and a third for activations.
        "memory_bytes": int(1.3 * count * 4) + moments,
        # Weights as they are stored, and what the directions of the widest layer take; activations fill what is left.
        "gpu_memory_bytes": weights + moments + 3 * 8 * widest**2,
        "disk_bytes": weights,
    }


def method_of(request: EraseRequest) -> tuple[Any, BaseModel]:
    """Return the method's module and its options.

    Raises:
        UsageFault: There is no such method or option, or the images it needs are missing.
    """
    method = registry.load("methods", request.method)
    options = fitted(method.Options, request.options, f"the method `{request.method}`")
    check_images(request.method, method, options, request.forget_images)
    return method, options


def _receipt(
    request: EraseRequest,
    base: Base,
    origin: _Origin,
    outcome: Outcome,
    layers: list[LayerReceipt],
    draft: Draft,
) -> ErasureReceipt:
    """Close the ledger, and return what goes into the record."""
    written = [entry for entry in draft.files() if entry.path != STATE]
    lines, files = close_ledger(draft.path, base.entries, written, origin.facts)
    used = {layer.layer: layer.used for layer in layers if layer.used is not None}
    limits = {"retain_kl": request.max_retain_kl, "neighbours_changed": request.max_neighbour_loss}
    spent = spent_share(outcome.signals, limits)
    return ErasureReceipt(
        space_version=__version__,
        seed=request.seed,
        inputs=origin.inputs,
        files=files,
        run=draft.run(),
        request=request,
        dtype=base.checkpoint.parameters[next(iter(base.parameters.values()))].dtype,
        layers=layers,
        steps=outcome.steps,
        stopped=outcome.stopped,
        signals=outcome.signals,
        instruction=outcome.instruction,
        base_files=base.files,
        ledger=lines[-1].hash,
        requests=len(lines),
        used=sum(used.values()) / len(used) if used else None,
        spent=spent,
        meter=reading(used, len(lines), spent) if used else "",
    )


def _facts(request: EraseRequest, base: Base) -> dict[str, Any]:
    """Return what the ledger says of a request, as far as it is known before it is carried out."""
    table = Path(request.anchors) / TABLE
    return {
        "concept": request.concept,
        "method": request.method,
        "seed": request.seed,
        "base": checkpoint_digest(files_of(base.folder, base.files)),
        "anchors": digest_file(table) if table.is_file() else "",  # whoever opens the anchors says so
    }


def _inputs(request: EraseRequest, checkpoint: Source) -> list[Source]:
    inputs = [checkpoint, source_of(Path(request.anchors), "anchors")]
    if request.forget_images is not None:
        inputs.append(source_of(Path(request.forget_images), "images"))
    return inputs


def _require_fresh(manifest: AnchorsManifest, request: EraseRequest) -> None:
    if manifest.request.concept != request.concept:
        raise ArtifactFault(
            f"the anchors are for `{manifest.request.concept.name}`: expected `{request.concept.name}`",
            hint=shlex.join(("space", "select", request.concept.name)),
        )
    if manifest.request.model is None:
        raise ArtifactFault(
            "the anchors were selected without the checkpoint: re-rank and leak guard are missing",
            hint=shlex.join(("space", "select", request.concept.name, "--model", request.model)),
        )


def _require_space(base: Base, draft: Draft, *, weights: bool) -> None:
    """Refuse a disk that the result will not fit on before hours are spent on it, and not only when it is written."""
    edited = {base.checkpoint.parameters[name].file for name in base.parameters.values()} if weights else set()
    require_space(draft.path, bytes_to_write(base.checkpoint, edited, draft.path))


def _identity(request: EraseRequest, options: BaseModel, inputs: list[Source]) -> str:
    """Name what decides a run, so that one which was cut short is continued with the same and with nothing else."""
    parts = {
        "version": __version__,
        "request": request.model_dump(mode="json"),
        "options": options.model_dump(mode="json"),  # with the defaults of this version
        "inputs": [source.sha256 for source in inputs],
    }
    return json.dumps({"stage": "erase", **parts}, sort_keys=True)


def _context(
    request: EraseRequest,
    base: Base,
    anchors: list[Anchor],
    requests: list[list[Edit]],
    draft: Draft,
    progress: Progress,
) -> EditContext:
    inside = draft.path / "space"
    inside.mkdir(exist_ok=True)
    store = StateStore(draft.path / STATE)
    saved = store.load() if draft.resumed else None
    if saved:
        progress.note(f"continuing an interrupted run after step {saved.step}")
    images = concept_images(request.forget_images, progress)
    budget = Budget(request.max_retain_kl, request.max_neighbour_loss)
    earlier = open_earlier(base.folder, base.entries, base.entries, base.begins)
    undo = undone(requests)
    log = MetricsLog(inside / "metrics.jsonl", keep=saved.step if saved else 0)
    return open_subject(
        base.folder,
        anchors,
        Aim(request.concept, request.scope, request.seed, request.max_change, images, budget, earlier, undo),
        device=request.device,
        progress=progress,
        record=log.append,
        save=store.save,
        saved=saved,
    )


def _metered(context: EditContext, receipts: list[LayerReceipt], requests: list[list[Edit]]) -> list[LayerReceipt]:
    """Add to each layer how many directions are free, and how much of them all requests so far use."""
    edits = by_layer(requests)
    metered = []
    with context.progress.task("meter", len(receipts)) as advance:
        for receipt in receipts:
            basis = context.safe_basis(receipt.layer, LEAK)
            used = used_share(basis, edits[receipt.layer])
            metered.append(receipt.model_copy(update={"free": basis.shape[1], "used": used}))
            advance()
    return metered


def _write(base: Base, context: EditContext, made: tuple[list[Edit], dict[str, Tensor]], draft: Draft) -> None:
    found, edited = made
    write_edited(base.checkpoint, {base.parameters[layer]: weight for layer, weight in edited.items()}, draft.path)
    write_edits(draft.path / EDITS, found)
    if context.outcome.instruction:
        write_instruction(base.checkpoint, draft.path, context.outcome.instruction)
    write_kept(draft.path, kept_anchors(context), base.begins)
    carry(base.folder, base.entries, draft.path)


def _bytes(checkpoint: Checkpoint, name: str) -> int:
    info = checkpoint.parameters[name]
    return math.prod(info.shape) * (4 if info.dtype == "F32" else 2)
