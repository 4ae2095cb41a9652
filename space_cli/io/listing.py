"""What lies in a folder of images: one walk for whoever reads it and for whoever digests it."""

import os

from collections.abc import Iterator
from pathlib import Path

from space_cli.core.errors import EnvironmentFault


def files_below(folder: Path, seen: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """List what is no folder below one, in an order that depends on names alone; hidden names are passed over.

    A link to a folder is followed, one back to a folder above is not.

    Args:
        folder: Where to begin.
        seen: Device and number of the folders above.

    Raises:
        EnvironmentFault: A folder may not be read.
    """
    try:
        here = folder.stat()
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as failure:
        raise EnvironmentFault(f"`{folder}` may not be read: {failure.strerror}") from failure
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
