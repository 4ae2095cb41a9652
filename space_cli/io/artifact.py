"""Folders that are whole or absent: built beside their place, closed by `space.json`, renamed into it.

`space.json` is written last, so its presence means complete. A killed run leaves the old folder as it was, and a
`.partial` folder beside it that the next run of the same request may continue.
"""

import hashlib
import json
import os
import platform
import time

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from pydantic import ValidationError

from space_cli.core.errors import RERUN, RESTORE, ArtifactFault
from space_cli.core.records import FileRecord, Record, Run, Source, SourceKind, record_type
from space_cli.io.listing import files_below, unlikely
from space_cli.io.places import (
    RECORD,
    REQUEST,
    clear_place,
    draft_of,
    move_into_place,
    real_place,
    refuse_existing,
    settle,
    sole_writer,
)  # fmt: skip
from space_cli.io.storage import read_own, storage_faults

RECORD_NAME, REQUEST_NAME = RECORD, REQUEST
CHUNK = 1 << 22


class Draft:
    """A folder under construction.

    Args:
        folder: Its final place.
        path: Where to write meanwhile.
        resumed: An earlier run of the same request left work here.
    """

    def __init__(self, folder: Path, path: Path, *, resumed: bool) -> None:
        self.folder = folder
        self.path = path
        self.resumed = resumed
        self.started = time.monotonic()
        self.record: Record | None = None

    def files(self) -> list[FileRecord]:
        """Hash every file written so far, by relative path."""
        return file_records(self.path, skip={RECORD_NAME, REQUEST_NAME})

    def run(self) -> Run:
        """Describe this run: when, how long, on what machine."""
        return Run(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.started, 3),
            host={
                "machine": platform.machine(),
                "cores": os.cpu_count() or 0,
                "python": platform.python_version(),
            },
        )

    def finish(self, record: Record) -> None:
        """Close the folder with its record; it moves into place when the `with` block ends."""
        self.record = record
        write_text(self.path / RECORD_NAME, record.model_dump_json(indent=2) + "\n")


@contextmanager
def new_artifact(folder: Path, request: str, *, overwrite: bool) -> Generator[Draft]:
    """Build `folder` in one piece.

    Args:
        folder: Final place; must not exist unless `overwrite`, and then only if it is ours. Where it is a link, the
            folder is made where that leads.
        request: What is being made, as JSON; a partial folder of the same request is continued.
        overwrite: Replace an artifact that is there.

    Yields:
        The draft; call its `finish` before the block ends.

    Raises:
        UsageFault: The folder exists and may not be replaced, or nothing can be put in its place.
        EnvironmentFault: Another run holds the folder, the disk is full, or writing is not permitted; what an earlier
            run left cannot be removed; or the finished folder could not be put in its place, and is kept beside it.
    """
    folder = real_place(folder)
    settle(folder)
    refuse_existing(folder, overwrite=overwrite)
    with storage_faults(folder), sole_writer(folder):
        partial = draft_of(folder)
        draft = Draft(folder, partial, resumed=_prepare(partial, request))
        yield draft
        assert draft.record is not None, "a stage left its folder without a record"
        _close(partial, folder, request)


def open_artifact(folder: Path, kind: str, *, verify: bool = True, alone: bool = False) -> Record:
    """Read and check a folder that an earlier stage wrote.

    Args:
        folder: The artifact.
        kind: "pool", "anchors", "erased" or "audit".
        verify: Compare every file with its digest.
        alone: Refuse what the record does not list and whoever loads the folder might read.

    Raises:
        ArtifactFault: It is missing, incomplete, of another kind, from another schema, altered, or added to.
    """
    record = read_record(folder)
    if record.kind != kind:
        raise ArtifactFault(
            f"`{folder}` is of the kind `{record.kind}`: `{kind}` is needed here",
            hint="`space show` tells what a folder is, and what it was made of",
        )
    if verify:
        check_files(folder, record.files)
    if alone:
        _refuse_added(folder, record)
    return record


def read_record(folder: Path) -> Record:
    """Read `space.json` of any kind.

    Raises:
        ArtifactFault: It is missing, not JSON, or not one of our records.
    """
    path = folder / RECORD_NAME
    text = read_own(path)
    try:
        kind = json.loads(text).get("kind")
    except (ValueError, AttributeError, RecursionError):
        raise ArtifactFault(f"`{path}` is not a JSON object", hint=RESTORE) from None
    record = record_type(kind) if isinstance(kind, str) else None
    if record is None:
        raise ArtifactFault(f"`{path}` has the unknown kind `{kind}`", hint="give a folder that `space` wrote")
    try:
        return record.model_validate_json(text)
    except ValidationError as failure:
        first = failure.errors()[0]
        where = [".".join(str(part) for part in first["loc"])] if first["loc"] else []
        said = first["msg"].removeprefix("Value error, ")
        raise ArtifactFault(": ".join((f"`{path}` does not fit its schema", *where, said)), hint=RERUN) from None


def check_files(folder: Path, files: list[FileRecord]) -> None:
    """Compare files with their recorded digests.

    Raises:
        ArtifactFault: One is missing or altered.
    """
    for entry in files:
        path = folder / entry.path
        if not path.is_file():
            raise ArtifactFault(f"`{path}` is missing, though {RECORD_NAME} lists it", hint=RESTORE)
        found = digest_file(path)
        if found != entry.sha256:
            raise ArtifactFault(
                f"`{path}` was altered: expected {entry.sha256[:12]}…, found {found[:12]}…", hint=RESTORE
            )


def unlisted(folder: Path, record: Record) -> list[str]:
    """List what lies in a folder without being in its record, by relative path; links to folders count."""
    listed = {RECORD_NAME, *(entry.path for entry in record.files)}
    # A link to a folder is neither a file nor walked into, so it is counted as something added.
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted({path.relative_to(folder).as_posix() for path in found} - listed)


def _refuse_added(folder: Path, record: Record) -> None:
    """Refuse files beside the listed ones, but for hidden ones, licences and Markdown, which no loader reads.

    A `generation_config.json` or a whole `model.safetensors` beside shards changes what a checkpoint answers, and no
    digest of the listed files shows it.
    """
    for name in unlisted(folder, record):
        path = PurePosixPath(name)
        if path.suffix not in {"", ".md"} and not any(part.startswith(".") for part in path.parts):
            raise ArtifactFault(f"`{folder / name}` was added: {RECORD_NAME} does not list it", hint="remove it")


def source_of(
    folder: Path,
    kind: SourceKind,
    files: Sequence[FileRecord] | None = None,
    *,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Source:
    """Describe an input: by its `space.json`, or by all its files where it has none; a single file by itself.

    Args:
        folder: The input.
        kind: What it is to the stage; in images links to folders are followed, as whoever reads them does.
        files: Its `file_records`, where the caller has hashed them already.
        known: Digests of images that the caller has read already, by relative path.

    Raises:
        ArtifactFault: It can be no input of this kind, and is not read.
    """
    if why := unlikely(folder, kind, RECORD_NAME):
        raise ArtifactFault(
            f"`{folder}` is no input of the kind `{kind}` and was not read: {why}",
            hint=f"give the folder that holds the {kind} and nothing else",
        )
    return Source(kind=kind, path=str(folder), sha256=_source_digest(folder, kind, files, known))


def _source_digest(folder: Path, kind: SourceKind, files: Sequence[FileRecord] | None, known: Mapping[str, str]) -> str:
    own = folder / RECORD_NAME
    if folder.is_file():
        return digest_file(folder)
    if kind == "images" and folder.is_dir():  # where there is none, whoever reads it says so
        found = ((path.relative_to(folder).as_posix(), path) for path in files_below(folder) if os.path.isfile(path))
        lines = [f"{name} {known.get(name) or _readable_digest(path)}" for name, path in found]
    elif own.is_file():
        return digest_file(own)
    else:
        lines = [f"{entry.path} {entry.sha256}" for entry in (file_records(folder) if files is None else files)]
    # Of images any name will do, whereas one that is not UTF-8 cannot be encoded as such.
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()


def _readable_digest(path: Path) -> str:
    try:
        return digest_file(path)
    except PermissionError:
        return "unreadable"  # whoever reads images says so of each


def file_records(folder: Path, skip: Collection[str] = ()) -> list[FileRecord]:
    """Hash each file under `folder`, sorted by path; hidden ones (`.git`, `.cache`) are no part of it.

    Raises:
        ArtifactFault: A file has a name that no record can hold.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    relative = [(path.relative_to(folder).as_posix(), path) for path in paths]
    relative = [(name, path) for name, path in relative if not any(p.startswith(".") for p in name.split("/"))]
    return [_file_record(name, path) for name, path in relative if name not in skip]


def _file_record(name: str, path: Path) -> FileRecord:
    try:
        return FileRecord(path=name, sha256=digest_file(path), bytes=path.stat().st_size)
    except ValidationError:
        raise ArtifactFault(f"the file {name!r} has a name that no record can hold", hint="rename it") from None


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file that is whole or absent."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def _close(partial: Path, folder: Path, request: str) -> None:
    note = partial / REQUEST_NAME
    note.unlink()
    try:
        move_into_place(partial, folder)
    except BaseException:
        if partial.is_dir():
            write_text(note, request)  # without it the next run would take the work for another's, and delete it
        raise


def _prepare(partial: Path, request: str) -> bool:
    note = partial / REQUEST_NAME
    if not partial.is_symlink() and note.is_file() and note.read_bytes() == request.encode():
        for draft in partial.rglob("*.tmp"):  # what was killed while it was written is no part of the folder
            draft.unlink()
        return True
    clear_place(partial)
    partial.mkdir(parents=True)
    write_text(note, request)
    return False
