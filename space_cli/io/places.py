"""Where a whole folder is put: what none can take the place of, one writer at a time, the move."""

import os
import shutil

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from space_cli.core.errors import EnvironmentFault, UsageFault
from space_cli.io.storage import make_parent

ELSEWHERE = "choose another folder"
RECORD, REQUEST = "space.json", "request.json"
"""The last file of a finished folder, and the note that is in a draft until it is moved."""


def real_place(folder: Path) -> Path:
    """Return where a folder will be: a link is followed, so that what it leads to is made or replaced, not the link.

    Raises:
        UsageFault: A file, the root of a disk or a link to itself is there: no folder can take its place.
    """
    # Unlike `Path.resolve`, this returns a link to itself as it is.
    place = Path(os.path.realpath(folder))
    if place.is_symlink():
        raise UsageFault(f"`{folder}` is a link that leads nowhere", hint=ELSEWHERE)
    if place.exists() and not place.is_dir():
        raise UsageFault(f"`{folder}` is a file: no folder can be written there", hint=ELSEWHERE)
    if os.path.ismount(place):
        raise UsageFault(f"`{folder}` is where a disk is mounted: it cannot be replaced", hint="choose a folder in it")
    return place


def refuse_existing(folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace a folder that is there, unless that is asked for and it is ours or empty.

    Raises:
        UsageFault: It may not be replaced.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise UsageFault(f"`{folder}` exists already", hint="pass `--overwrite` to replace it")
    if not (folder / RECORD).is_file() and any(folder.iterdir()):
        raise UsageFault(f"`{folder}` was not written by space: it will not be replaced", hint=ELSEWHERE)


@contextmanager
def sole_writer(folder: Path) -> Generator[None]:
    """Keep every other run from writing a folder inside the block; the lock lies beside it, and dies with the process.

    Raises:
        EnvironmentFault: Another run holds it.
    """
    make_parent(folder)
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise EnvironmentFault(
            f"another run is writing `{folder}`", hint="wait for it to end, or choose another `--workspace`"
        ) from None
    try:
        yield
    finally:
        lock.release()


def clear_place(draft: Path) -> None:
    """Remove what a killed run left where a folder will be made.

    Raises:
        EnvironmentFault: It cannot be removed, as what another user left; what is made there would be mixed with it.
    """
    shutil.rmtree(draft, ignore_errors=True)
    if os.path.lexists(draft):
        raise EnvironmentFault(
            f"`{draft}` was left by an earlier run and cannot be removed",
            hint="remove it, perhaps as the user whose run that was",
        )


def draft_of(folder: Path) -> Path:
    """Return where a folder is made before it is moved into its place."""
    return folder.with_name(f".{folder.name}.partial")


def settle(folder: Path) -> None:
    """Finish what a run was killed in while it put a finished folder in its place: the new one is there, or the old.

    Nothing is done while another run writes the folder, or where it may not be changed.
    """
    if not _is_ready(folder) and not _is_missing(folder):
        return
    with suppress(EnvironmentFault, OSError), sole_writer(folder):
        if _is_ready(folder):
            move_into_place(draft_of(folder), folder)
        elif _is_missing(folder):
            _retired(folder).rename(folder)


def _retired(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _is_missing(folder: Path) -> bool:
    return not os.path.lexists(folder) and _retired(folder).is_dir()


def _is_ready(folder: Path) -> bool:
    """Tell whether a draft is finished and may take the place: of nothing, or of what a stage wrote."""
    draft = draft_of(folder)
    finished = (draft / RECORD).is_file() and not os.path.lexists(draft / REQUEST) and not draft.is_symlink()
    return finished and (not os.path.lexists(folder) or (folder / RECORD).is_file())


def _discard(retired: Path) -> None:
    """Remove a folder that was replaced; under another name, since what is called retired is whole."""
    gone = retired.with_name(f"{retired.name}.removed")
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(OSError):
        retired.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def move_into_place(draft: Path, folder: Path) -> None:
    """Put a finished folder in its place; what was there is gone afterwards, or is there again after an error.

    Raises:
        EnvironmentFault: It cannot be moved there; it stays where it is.
    """
    retired = _retired(folder)
    try:
        if folder.exists():
            _discard(retired)
            folder.rename(retired)
        draft.rename(folder)
    except OSError as failure:
        if retired.exists() and not folder.exists():
            retired.rename(folder)
        raise EnvironmentFault(
            f"`{folder}` cannot be put in its place: {failure.strerror}; the finished folder is kept as `{draft}`",
            hint="mend that and run it again, or move it there yourself, without its `request.json`",
        ) from failure
    _discard(retired)
