"""Revert: take the recorded edits away, so that an erased checkpoint is its base again."""

import shutil

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.protocols import Progress
from space_cli.core.records import ErasureReceipt, FileRecord
from space_cli.core.types import Edit
from space_cli.io.artifact import RECORD_NAME, digest_file, open_artifact
from space_cli.io.chat_template import remove_instruction
from space_cli.io.checkpoint import Checkpoint, check_recorded, open_checkpoint, write_edited
from space_cli.io.edits import recorded_edits
from space_cli.io.ledger import give_back, open_ledger
from space_cli.io.places import clear_place, draft_of, move_into_place, real_place, settle, sole_writer
from space_cli.io.shards import Delta
from space_cli.io.storage import storage_faults


@dataclass(frozen=True)
class Restored:
    """A checkpoint that was taken back."""

    folder: Path
    exact: bool  # every shard has the base's digest; else some equal the base's up to rounding
    how: str


def revert(
    erased: Path,
    out: Path,
    *,
    base: Path | None = None,
    approximate: bool = False,
    overwrite: bool = False,
    progress: Progress,
) -> Restored:
    """Write the checkpoint that `erased` was made from, as a normal Hugging Face folder.

    Where the base is still there and unchanged, its own shards are taken. Otherwise each edit is subtracted
    in float32, which gives back what was rounded away only by luck: the digests of the receipt decide.
    Only the last request is taken back: what is left of the ledger goes with the checkpoint, for the next request.

    Args:
        erased: Folder of an erasure; checked against its digests first.
        out: Where to write; whole or absent, and without a record, because it is the base again.
        base: The base where it moved; the place in the receipt if None.
        approximate: Accept weights that equal the base's only up to rounding.
        overwrite: Replace `out` if `space` wrote it.
        progress: Told how exact the outcome is.

    Returns:
        Where it is and how exact.

    Raises:
        UsageFault: `out` exists and may not be replaced, nothing can be put in its place, or it lies inside `erased`.
        ArtifactFault: `erased`, its ledger or the given base was altered, or only an approximation is possible.
        EnvironmentFault: The disk is full, or writing is not permitted; or the finished folder could not be put in its
            place, and is kept beside it.
    """
    receipt = open_artifact(erased, "erased")
    assert isinstance(receipt, ErasureReceipt), "the kind decides the class"
    settle(real_place(out))
    _refuse_place(erased, out, overwrite=overwrite)
    entries = open_ledger(erased, receipt.files)
    original = _usable_base(receipt, base, progress)
    with progress.task("writing the checkpoint", 1) as advance, _whole_folder(out) as draft:
        if original is not None:
            write_edited(original, {}, draft)
            exact, how = True, f"taken from the base `{original.folder}`: bit-identical"
        else:
            exact, how = _subtract(erased, receipt, draft, approximate=approximate)
        give_back(erased, entries, draft)
        advance()
    progress.note(how)
    return Restored(out, exact, how)


def _usable_base(receipt: ErasureReceipt, given: Path | None, progress: Progress) -> Checkpoint | None:
    if given is not None:
        return _checked_base(given, receipt)
    recorded = [Path(source.path) for source in receipt.inputs if source.kind == "checkpoint"]
    for path in recorded[:1]:
        try:
            return _checked_base(path, receipt)
        except ArtifactFault as fault:
            progress.note(f"the base cannot be used: {fault.message}")
    return None


def _checked_base(folder: Path, receipt: ErasureReceipt) -> Checkpoint:
    checkpoint = open_checkpoint(folder)
    check_recorded(checkpoint, receipt.base_files)
    return checkpoint


def _subtract(erased: Path, receipt: ErasureReceipt, draft: Path, *, approximate: bool) -> tuple[bool, str]:
    edits = recorded_edits(erased, receipt)
    write_edited(open_checkpoint(erased), {name: _opposite(edit) for name, edit in edits.items()}, draft)
    if receipt.instruction:
        remove_instruction(open_checkpoint(draft), receipt.instruction)
    differing = _unlike_base(open_checkpoint(draft), receipt.base_files)
    if not differing:
        return True, "edits subtracted: every shard has the base's digest"
    if not approximate:
        raise ArtifactFault(
            f"without the base, {len(differing)} shards come back only up to rounding: nothing was written",
            hint="pass `--base FOLDER`, or `--approximate` to accept that",
        )
    return False, f"edits subtracted: {len(differing)} shards are equal to the base up to rounding in {receipt.dtype}"


def _opposite(edit: Edit) -> Delta:
    def negative() -> Tensor:
        return -edit.written_delta()

    return negative


def _unlike_base(checkpoint: Checkpoint, base_files: list[FileRecord]) -> list[str]:
    recorded = {entry.path: entry.sha256 for entry in base_files}
    return [name for name in checkpoint.shards if digest_file(checkpoint.folder / name) != recorded.get(name)]


def _refuse_place(erased: Path, out: Path, *, overwrite: bool) -> None:
    if erased.resolve() in out.resolve().parents:
        raise UsageFault(f"`{out}` lies inside `{erased}`, which it would change", hint="choose another folder")
    if not real_place(out).exists():
        return
    ours = (out / RECORD_NAME).is_file()
    if not overwrite:
        hint = "pass `--overwrite` to replace it" if ours else "remove it, or choose another folder"
        raise UsageFault(f"`{out}` exists already", hint=hint)
    if not ours:
        raise UsageFault(f"`{out}` was not written by space: it will not be replaced", hint="choose another folder")


@contextmanager
def _whole_folder(out: Path) -> Generator[Path]:
    out = real_place(out)
    draft = draft_of(out)
    with storage_faults(out), sole_writer(out):
        clear_place(draft)
        try:
            yield draft
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        move_into_place(draft, out)
