"""What a method's edits come to on the checkpoint as it lies on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.errors import UsageFault
from space_cli.core.ledger import Entry, require_new
from space_cli.core.linalg import leak_share, leverage
from space_cli.core.meter import used_directions
from space_cli.core.recipe import EraseRequest
from space_cli.core.records import FileRecord, LayerReceipt
from space_cli.core.types import Edit
from space_cli.io.artifact import file_records
from space_cli.io.checkpoint import Checkpoint, forbid_inside, open_checkpoint, refuse_foreign_links, resolve
from space_cli.io.editable import editable_parameters
from space_cli.io.families import family_of
from space_cli.io.ledger import open_ledger
from space_cli.io.shards import add_delta


@dataclass(frozen=True)
class Base:
    """The checkpoint that is edited, as it lies on disk."""

    folder: Path
    checkpoint: Checkpoint
    parameters: dict[str, str]  # layer -> name in the files
    files: list[FileRecord]
    entries: list[Entry]  # of its ledger
    begins: int | None = None  # the tower's block that features enter; None where the connector reads them


def open_base(request: EraseRequest, out: Path) -> Base:
    """Open the checkpoint that a request is about.

    Raises:
        UsageFault: `out` is the checkpoint itself or lies inside it, or the concept was erased from it already.
        ArtifactFault: The checkpoint or its ledger is broken, its weights cannot be edited, or it links to files that
            lie elsewhere.
    """
    folder = resolve(request.model, request.revision)
    if out.resolve() == folder.resolve():
        raise UsageFault(
            f"`{out}` is the checkpoint to erase from: replacing it would leave nothing to compare with or revert to",
            hint="choose another folder with `--out`",
        )
    forbid_inside(folder, out)
    checkpoint, family = open_checkpoint(folder), family_of(folder)
    refuse_foreign_links(checkpoint)
    parameters = editable_parameters(checkpoint, family, request.scope)
    files = file_records(folder)
    entries = open_ledger(folder, files)
    require_new(entries, request.concept)
    return Base(folder, checkpoint, parameters, files, entries, family.begins(request.scope))


def on_cpu(edit: Edit) -> Edit:
    """Return an edit in float32 on the CPU, where `space verify` computes its products again."""
    parts = (edit.left, edit.right, edit.dense)
    return Edit(edit.layer, *(None if part is None else part.float().cpu().contiguous() for part in parts))


def edited_weights(base: Base, found: list[Edit]) -> dict[str, Tensor]:
    """Return W + ΔW of each edited layer in the dtype of W, as the checkpoint will hold it.

    It is kept until it is written: ΔW in its written order takes seconds a layer.

    Raises:
        ArtifactFault: An edit does not fit its weight, or its result is not finite.
    """
    return {edit.layer: _edited(base.checkpoint, base.parameters[edit.layer], edit) for edit in found}


def _edited(checkpoint: Checkpoint, parameter: str, edit: Edit) -> Tensor:
    return add_delta(parameter, checkpoint.tensor(parameter), edit.written_delta())


def rounded_changes(base: Base, edited: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the change each layer really gets once W + ΔW is stored in the checkpoint's dtype."""
    return {
        layer: weight.float() - base.checkpoint.tensor(base.parameters[layer]).float()
        for layer, weight in edited.items()
    }


def layer_receipts(
    context: EditContext, base: Base, found: list[Edit], rounded: dict[str, Tensor]
) -> list[LayerReceipt]:
    """Return what each layer's change comes to: its size, and what of it reaches held-out retained keys."""
    held_out = [*context.knowledge.held_out, *context.knowledge.held_out_texts]
    raw = context.moments(held_out, context.features, label="held-out keys", unit=False)
    receipts = []
    with context.progress.task("measuring layers", len(found)) as advance:
        for edit in found:
            parameter = base.parameters[edit.layer]
            moment = raw.pop(edit.layer).mean()
            # Products of wide matrices in float64 take a CPU minutes, so they are made where the keys are.
            weight, delta = base.checkpoint.tensor(parameter).float(), edit.delta()
            there, meant, rounded_there = (part.to(moment.device) for part in (weight, delta, rounded[edit.layer]))
            receipts.append(
                LayerReceipt(
                    layer=edit.layer,
                    parameter=parameter,
                    rank=min(delta.shape) if edit.left is None else edit.left.shape[1],
                    relative_change=float(delta.norm() / weight.norm()),
                    leak=leak_share(meant, there, moment),
                    leak_rounded=leak_share(rounded_there, there, moment),
                    retained_energy=_retained_energy(edit, moment),
                )
            )
            advance()
    return receipts


def _retained_energy(edit: Edit, moment: Tensor) -> float:
    """Return the share of retained energy that the edit's own input directions see."""
    if edit.right is None:
        return 1.0
    # The directions of low-rank adapters are neither of unit length nor at right angles.
    return leverage(moment, used_directions([edit], moment.device))
