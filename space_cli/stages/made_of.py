"""Whether an erased checkpoint is its original plus the recorded edits, and nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from torch import Tensor

from space_cli.core.errors import ArtifactFault
from space_cli.core.records import ErasureReceipt
from space_cli.core.types import Edit
from space_cli.io.artifact import digest_file
from space_cli.io.chat_template import unlike_instructed
from space_cli.io.checkpoint import Checkpoint, carried_files, open_checkpoint
from space_cli.io.edits import recorded_edits
from space_cli.io.ledger import require_continued
from space_cli.io.shards import add_delta

SHOWN = 3
"""Names that a failed check spells out; the rest are counted."""


@dataclass(frozen=True)
class Check:
    """One question about a folder, answered."""

    name: str
    passed: bool
    detail: str


def refuse_not_made_of(base: Checkpoint, folder: Path, receipt: ErasureReceipt) -> None:
    """Refuse an erased checkpoint that is not its base plus the recorded edits: nobody knows what was done to it.

    What earlier requests erased is asked about with the edits of later ones taken off, so these must be the real ones.
    An instruction excuses a chat template that was changed, which must then be changed by that instruction alone.

    Args:
        base: What it was made from, as the receipt says.
        folder: The erased checkpoint.
        receipt: Its record.

    Raises:
        ArtifactFault: It is not, or its ledger does not continue that of the base.
    """
    require_continued(folder, receipt, base.folder)
    after = open_checkpoint(folder)
    checks = weight_checks(base, after, recorded_edits(folder, receipt))
    if receipt.instruction:
        templates, wrong = unlike_instructed(base, after, receipt.instruction)
        others = {path for path in receipt.changed if not path.endswith(".safetensors")} - templates
        checks.append(compared("chat template", wrong | others, ""))
    for check in checks:
        if not check.passed:
            raise ArtifactFault(
                f"`{folder}` is not its original plus the recorded edits: {check.name}: {check.detail}",
                hint="`space verify` tells what else differs",
            )


def weight_checks(before: Checkpoint, after: Checkpoint, edits: Mapping[str, Edit]) -> list[Check]:
    """Compare every parameter with the base: its name, shape and dtype, and its bits with those of base plus edit."""
    return [_layout_check(before, after), _untouched_check(before, after, edits), _edited_check(before, after, edits)]


def _layout_check(before: Checkpoint, after: Checkpoint) -> Check:
    old, new = ({name: (info.shape, info.dtype) for name, info in x.parameters.items()} for x in (before, after))
    differing = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    return compared("parameter names, shapes and dtypes", differing, f"{len(old)} parameters as in the base")


def _untouched_check(before: Checkpoint, after: Checkpoint, edits: Mapping[str, Edit]) -> Check:
    names = (set(before.parameters) & set(after.parameters)) - set(edits)
    changed = {name for name in names if not _same_bits(before, after, name)}
    return compared("untouched parameters", changed, f"{len(names)} parameters are bit-identical to the base")


def _edited_check(before: Checkpoint, after: Checkpoint, edits: Mapping[str, Edit]) -> Check:
    wrong = {name for name, edit in edits.items() if not _is_edit(before, after, name, edit)}
    return compared("edited parameters", wrong, f"{len(edits)} parameters equal base plus edit, rounded once")


def carried_checks(before: Checkpoint, after: Checkpoint, instruction: str) -> list[Check]:
    """Compare what is no weight with the base, and chat templates with the base's plus an instruction."""
    old, new = ({name: digest_file(x.folder / name) for name in carried_files(x)} for x in (before, after))
    differing = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    if not instruction:
        return [compared("files that are no weights", differing, f"{len(old)} files as in the base")]
    try:
        templates, wrong = unlike_instructed(before, after, instruction)
    except ArtifactFault as fault:
        return [Check("chat template", False, fault.message)]
    return [
        compared(
            "files that are no weights", differing - templates, f"{len(old) - len(templates)} files as in the base"
        ),
        compared("chat template", wrong, f"{len(templates)} files are the base's with the recorded instruction"),
    ]


def compared(name: str, differing: Iterable[str], fine: str) -> Check:
    """Return a check that fails where some names differ, and tells the first of them."""
    names = sorted(differing)
    if not names:
        return Check(name, True, fine)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return Check(name, False, f"not as recorded: {', '.join(names[:SHOWN])}{more}")


def _same_bits(before: Checkpoint, after: Checkpoint, name: str) -> bool:
    old, new = (x.folder / x.parameters[name].file for x in (before, after))
    return old.samefile(new) or _bits_equal(before.tensor(name), after.tensor(name))


def _is_edit(before: Checkpoint, after: Checkpoint, name: str, edit: Edit) -> bool:
    try:
        return _bits_equal(add_delta(name, before.tensor(name), edit.written_delta()), after.tensor(name))
    except ArtifactFault:
        return False


def _bits_equal(one: Tensor, other: Tensor) -> bool:
    # As bytes: -0 is not 0 here, and NaN is NaN.
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
