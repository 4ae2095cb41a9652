"""The ledger on disk, and what a checkpoint carries of each request: its edits, and the anchors kept for later ones.

`space/ledger.jsonl` has one line a request. `space/edits.safetensors` and `space/anchors.safetensors` are the last
request's; those of the ones before are `space/earlier/0001.edits.safetensors`, `0001.anchors.safetensors` and so on.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from space_cli.core.earlier import ROWS, Earlier
from space_cli.core.errors import AS_WRITTEN, ArtifactFault
from space_cli.core.ledger import Entry, checkpoint_digest, parse, require_fit, sealed, spell
from space_cli.core.records import ErasureReceipt, FileRecord
from space_cli.core.types import Edit
from space_cli.io.artifact import RECORD_NAME, digest_file, file_records, read_record, write_text
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.edits import EDITS, read_edits
from space_cli.io.kept import KEPT, read_kept, require_kept
from space_cli.io.shards import place_copy
from space_cli.io.storage import read_small

LEDGER = "space/ledger.jsonl"
EARLIER = "space/earlier"


def open_ledger(folder: Path, files: Sequence[FileRecord]) -> list[Entry]:
    """Read and check the ledger of a checkpoint, with what it carries of each request.

    Args:
        folder: The checkpoint.
        files: Its `file_records`; what its own record does not list is no part of it.

    Returns:
        The lines; none for a checkpoint from which nothing was erased.

    Raises:
        ArtifactFault: The ledger is missing from an erased checkpoint, broken, or of another checkpoint.
    """
    if not _erased_from(folder):
        return []
    entries = read_ledger(folder)
    require_fit(entries, checkpoint_digest(files_of(folder, files)), origin=str(folder / LEDGER))
    check_carried(folder, entries)
    return entries


def earlier_requests(folder: Path) -> list[Entry]:
    """Return the checked ledger of a checkpoint; the files of one without any are not read.

    Raises:
        ArtifactFault: As `open_ledger` does.
    """
    return open_ledger(folder, file_records(folder)) if _erased_from(folder) else []


def files_of(folder: Path, files: Sequence[FileRecord]) -> list[FileRecord]:
    """Return which files of a folder are its checkpoint's: those its record lists, or all where it has none."""
    if not (folder / RECORD_NAME).is_file():
        return list(files)
    listed = {entry.path for entry in read_record(folder).files}
    return [entry for entry in files if entry.path in listed]


def read_ledger(folder: Path) -> list[Entry]:
    """Read the lines and check their chain, not yet what they belong to.

    Raises:
        ArtifactFault: The file is missing, or its chain is broken.
    """
    path = folder / LEDGER
    if not path.is_file():  # nor is a pipe waited for
        raise ArtifactFault(f"`{folder}` was erased from, but its {LEDGER} is missing", hint=AS_WRITTEN)
    try:
        text = read_small(path).decode("utf-8")
    except UnicodeDecodeError:
        raise ArtifactFault(f"`{path}` is not UTF-8 text", hint=AS_WRITTEN) from None
    return parse(text, origin=str(path))


def require_counted(entries: Sequence[Entry], receipt: ErasureReceipt, *, origin: str) -> None:
    """Refuse a receipt that counts other requests than its ledger: one alone would excuse an audit from looking back.

    Raises:
        ArtifactFault: It does.
    """
    if receipt.requests != len(entries):
        raise ArtifactFault(
            f"`{origin}` has {len(entries)} requests: the receipt says {receipt.requests}", hint=AS_WRITTEN
        )


def check_carried(folder: Path, entries: Sequence[Entry]) -> None:
    """Compare the edits and kept anchors of every request with the ledger's digests.

    Raises:
        ArtifactFault: One is missing or altered.
    """
    for entry in entries:
        for path, wanted in zip(_carried(folder, entry, entries), (entry.edits, entry.kept), strict=True):
            if not path.is_file():
                raise ArtifactFault(f"`{path}` of request {entry.number} is missing", hint=AS_WRITTEN)
            if digest_file(path) != wanted:
                raise ArtifactFault(
                    f"`{path}` was altered: request {entry.number} of the ledger has another digest", hint=AS_WRITTEN
                )


def ledger_checks(folder: Path, receipt: ErasureReceipt, base: Path | None) -> list[tuple[str, Callable[[], str]]]:
    """Return what `space verify` asks about a ledger: a name, and a check that says what is fine or raises.

    Args:
        folder: The erased checkpoint.
        receipt: Its record; each file is compared with it elsewhere.
        base: The checkpoint it was made from, or None where it is gone.
    """

    def fits() -> str:
        entries = read_ledger(folder)
        require_fit(entries, checkpoint_digest(receipt.files), origin=str(folder / LEDGER))
        require_counted(entries, receipt, origin=str(folder / LEDGER))
        last, asked = entries[-1], receipt.request
        if (last.hash, last.concept, last.method, last.seed) != (
            receipt.ledger, asked.concept, asked.method, asked.seed,
        ):  # fmt: skip
            raise ArtifactFault(f"`{folder / LEDGER}` ends with another request than the receipt's", hint=AS_WRITTEN)
        return f"{len(entries)} requests, each sealed with the one before, the last one this checkpoint's"

    def carried() -> str:
        entries = read_ledger(folder)
        check_carried(folder, entries)
        return f"edits and kept anchors of {len(entries)} requests as in the ledger"

    def continues() -> str:
        assert base is not None, "it is asked only where there is a base"
        before = require_continued(folder, receipt, base)
        return f"continues the {len(before)} requests of the base" if before else "starts at the original checkpoint"

    asked = [("ledger", fits), ("ledger: what it carries", carried)]
    return asked if base is None else [*asked, ("ledger: base", continues)]


def require_continued(folder: Path, receipt: ErasureReceipt, base: Path) -> list[Entry]:
    """Refuse a ledger that leaves out what was erased before: its checkpoint would never be asked about that.

    Args:
        folder: The erased checkpoint.
        receipt: Its record.
        base: The checkpoint it was made from.

    Returns:
        The ledger of the base.

    Raises:
        ArtifactFault: It continues another ledger than that of the base, or another checkpoint.
    """
    entries = read_ledger(folder)
    if entries[-1].base != checkpoint_digest(files_of(base, receipt.base_files)):
        raise ArtifactFault(f"`{folder / LEDGER}` was continued on another checkpoint than `{base}`", hint=AS_WRITTEN)
    before = read_ledger(base) if _erased_from(base) else []
    if entries[:-1] != before:
        raise ArtifactFault(f"`{folder / LEDGER}` does not continue the ledger of `{base}`", hint=AS_WRITTEN)
    return before


def carry(source: Path, entries: Sequence[Entry], target: Path) -> None:
    """Take over edits and anchors of earlier requests, as second names of the same files where the disk allows it.

    Args:
        source: The checkpoint that has them.
        entries: The requests that are taken over.
        target: The folder of the next checkpoint; there none of them is the last any more.
    """
    for entry in entries:
        _place(_carried(source, entry, entries), _earlier(target, entry.number))


def give_back(source: Path, entries: Sequence[Entry], target: Path) -> None:
    """Write what the checkpoint before the last request carried: all lines but the last, and their files.

    A checkpoint without an earlier request gets nothing.
    """
    kept = entries[:-1]
    for entry in kept:
        _place(_carried(source, entry, entries), _carried(target, entry, kept))
    if kept:
        write_text(target / LEDGER, spell(kept))


def close_ledger(
    folder: Path, entries: Sequence[Entry], files: Sequence[FileRecord], facts: dict[str, Any]
) -> tuple[list[Entry], list[FileRecord]]:
    """Write the ledger with one line more.

    Args:
        folder: The erased checkpoint, complete but for ledger and record.
        entries: The lines so far.
        files: Its `file_records`.
        facts: `concept`, `method`, `seed`, `base` and `anchors` of the new line.

    Returns:
        All the lines, and the files with the ledger among them.
    """
    digests = {entry.path: entry.sha256 for entry in files}
    made = {"edits": digests[EDITS], "kept": digests[KEPT], "result": checkpoint_digest(files)}
    lines = [*entries, sealed(entries, facts | made)]
    path = folder / LEDGER
    write_text(path, spell(lines))
    own = FileRecord(path=LEDGER, sha256=digest_file(path), bytes=path.stat().st_size)
    others = [entry for entry in files if entry.path != LEDGER]  # one is left by a run that was killed here
    return lines, sorted([*others, own], key=lambda entry: entry.path)


def open_earlier(
    folder: Path, entries: Sequence[Entry], wanted: Sequence[Entry], begins: int | None = None
) -> list[Earlier]:
    """Return concept and kept anchors of some requests, few of each where they are many.

    Args:
        folder: The checkpoint that carries them.
        entries: Its ledger.
        wanted: Lines of it.
        begins: The tower's block that features enter; None where the connector reads them.

    Raises:
        ArtifactFault: A file holds no anchors, or features of another place.
    """
    rows = max(1, ROWS // max(len(wanted), 1))
    return [Earlier(entry.concept, read_kept(_carried(folder, entry, entries)[1], begins)[:rows]) for entry in wanted]


def require_earlier(folder: Path, entries: Sequence[Entry], begins: int | None) -> None:
    """Check that the anchors kept of every request can be shown at such a place, without reading them.

    Raises:
        ArtifactFault: As `open_earlier`.
    """
    for entry in entries:
        require_kept(_carried(folder, entry, entries)[1], begins)


def open_edits(folder: Path, entries: Sequence[Entry]) -> list[list[Edit]]:
    """Return the edits of every request, the first request's first.

    Raises:
        ArtifactFault: A file holds no edits.
    """
    if not entries:
        return []
    shapes = {info.shape for info in open_checkpoint(folder).parameters.values()}
    return [read_edits(_carried(folder, entry, entries)[0], shapes) for entry in entries]


def _erased_from(folder: Path) -> bool:
    """Tell whether a checkpoint must have a ledger; what `revert` wrote may have one without a record."""
    return (folder / RECORD_NAME).is_file() or (folder / LEDGER).exists()


def _carried(folder: Path, entry: Entry, entries: Sequence[Entry]) -> tuple[Path, Path]:
    """Return where a checkpoint with this ledger has the edits and the anchors of a request."""
    if entry.number == len(entries):
        return folder / EDITS, folder / KEPT
    return _earlier(folder, entry.number)


def _earlier(folder: Path, number: int) -> tuple[Path, Path]:
    place = folder / EARLIER
    return place / f"{number:04d}.edits.safetensors", place / f"{number:04d}.anchors.safetensors"


def _place(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        place_copy(source, target, link=True)
