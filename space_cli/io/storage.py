"""What a disk refuses, as errors with a hint and the right exit code."""

import errno
import os
import shutil
import stat

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from space_cli.core.errors import READABLE, RESTORE, ArtifactFault, EnvironmentFault, SpaceError, UsageFault

# No file can be where a path leads through a file, in a circle, or over a name that is too long.
NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
LARGEST = 64 * 2**20
"""Bytes; what is read of such a file takes some twenty times that in memory."""


def read_small(path: Path) -> bytes:
    """Read a file of text that came from elsewhere, as a config, a record or a ledger; its size is no one's promise.

    Raises:
        ArtifactFault: It is larger than any of these is, or something else than a file lies in its place.
        OSError: It is missing, or may not be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise ArtifactFault(
            f"`{path}` is no file: something else lies in its place",
            hint="put the file itself there: no folder, pipe or device is read for it",
        )
    with path.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ArtifactFault(
            f"`{path}` has more than {LARGEST:,} bytes: no file of this kind is so large",
            hint="take the file as it was written or published",
        )
    return data


def read_own(path: Path) -> str:
    """Read a text file that a stage wrote.

    Raises:
        ArtifactFault: It is missing, too large, no text, or something else lies in its place.
        EnvironmentFault: It may not be read.
    """
    try:
        return read_small(path).decode("utf-8")
    except PermissionError as failure:
        raise EnvironmentFault(f"`{path}` may not be read: {failure.strerror}", hint=READABLE) from None
    except UnicodeDecodeError:
        raise ArtifactFault(f"`{path}` is not UTF-8 text", hint=RESTORE) from None
    except OSError as failure:
        if failure.errno not in NOWHERE:
            raise
        if failure.errno == errno.ENOENT and not os.path.exists(path.parent):
            raise ArtifactFault(f"there is no folder `{path.parent}`", hint="check its path") from None
        hint = "the stage that writes it has not finished; run it again"
        raise ArtifactFault(f"`{path.parent}` holds no {path.name}: missing or incomplete", hint=hint) from None


def make_parent(folder: Path) -> None:
    """Make the folders above a folder that will be written.

    Raises:
        UsageFault: One of them is a file.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        above = next(path for path in folder.parents if os.path.lexists(path))
        raise UsageFault(
            f"`{folder}` lies inside `{above}`, which is no folder", hint="choose another folder"
        ) from None


@contextmanager
def storage_faults(folder: Path) -> Generator[None]:
    """Turn a full disk or a refused write into an error with a hint.

    Raises:
        EnvironmentFault: In place of the operating system's error.
    """
    try:
        yield
    except SpaceError:
        raise
    except OSError as failure:
        if failure.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise EnvironmentFault(
                f"the disk that holds `{folder}` is full: nothing was replaced",
                hint="free space, then run it again",
            ) from failure
        if failure.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise EnvironmentFault(
                f"`{failure.filename or folder}` may not be written: {failure.strerror}",
                hint="choose another folder with `--out` or `--workspace`",
            ) from failure
        raise


def require_space(folder: Path, needed: int) -> None:
    """Refuse to write more bytes into a folder than its disk has free.

    Raises:
        EnvironmentFault: It has fewer.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EnvironmentFault(
            f"writing `{folder}` needs {needed / 1e9:.3f} GB of disk: {free / 1e9:.3f} GB are free",
            hint="free space, or choose another disk with `--out` or `--workspace`",
            figures={"needed_bytes": float(needed), "free_bytes": float(free)},
        )
