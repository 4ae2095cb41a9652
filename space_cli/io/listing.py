"""What lies in a folder of images, for whoever reads it and for whoever digests it; and where inputs are."""

import os

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from space_cli.core.errors import READABLE, EnvironmentFault
from space_cli.core.records import Source, SourceKind

SYSTEM = ("/proc", "/sys", "/dev")
"""What lies there is made as it is read, and has no end."""
MEMORY = "/dev/shm"
"""Files in memory are files."""
MANY = 10_000
"""Files; no checkpoint has as many, and what a stage wrote is known by its record."""
MODELS = ("checkpoint", "encoder")


def unlikely(place: Path, kind: SourceKind, record: str) -> str:
    """Say why something cannot be an input, or nothing: a hostile record may name the whole disk.

    Args:
        place: A file or a folder.
        kind: What it is to a stage.
        record: Name of the record that a stage writes.
    """
    real = Path(os.path.realpath(place))
    system = any(real.is_relative_to(each) for each in SYSTEM) and MEMORY not in map(str, real.parents)
    if real == real.parent or system:
        return "it is of the system"
    if kind == "images" or not os.path.isdir(real) or os.path.isfile(real / record):
        return ""
    if kind in MODELS and not os.path.isfile(real / "config.json"):
        return "it holds no config.json"
    many = any(islice((path for path in real.rglob("*") if not _hidden(path, real)), MANY, None))
    return f"it holds more than {MANY} files" if many else ""


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def files_below(folder: Path, seen: frozenset[tuple[int, int]] | None = None) -> Iterator[Path]:
    """List what is no folder below one, in an order that depends on names alone; hidden names are passed over.

    A link to a folder is followed, one back to a folder above is not.

    Args:
        folder: Where to begin.
        seen: Device and number of the folders above; all up to the root of the disk if None.

    Raises:
        EnvironmentFault: A folder may not be read.
    """
    if seen is None:
        above = (parent.stat() for parent in folder.resolve().parents)
        seen = frozenset((status.st_dev, status.st_ino) for status in above)
    try:
        here = folder.stat()
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as failure:
        raise EnvironmentFault(f"`{folder}` may not be read: {failure.strerror}", hint=READABLE) from failure
    mark = (here.st_dev, here.st_ino)
    if mark in seen:
        return
    for entry in found:
        if entry.name.startswith("."):
            continue
        try:
            inside = entry.is_dir()
        except OSError:  # a link to itself, or into a folder that may not be read
            inside = False
        if inside:
            yield from files_below(Path(entry.path), seen | {mark})
        else:
            yield Path(entry.path)


def place_of(source: Source, places: Mapping[str, Path | str]) -> Path:
    """Return where a recorded input is: where it was, else where the reader has it.

    Args:
        source: Of a record.
        places: Where inputs are now, by kind.
    """
    recorded = Path(source.path)
    # os.path, unlike pathlib, answers False to a name that no file can have.
    return recorded if os.path.exists(recorded) else Path(places.get(source.kind, recorded))
