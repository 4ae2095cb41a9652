"""Where a command may write: nowhere that something it reads would be replaced or changed."""

import os

from collections.abc import Iterable
from pathlib import Path

from space_cli.core.errors import UsageFault
from space_cli.core.records import Record
from space_cli.io.places import real_place, settle

HINT = "choose another folder to write to"
Given = Iterable[Path | str | None]


def output(given: Path | None, own: Path) -> Path:
    """Return the folder that a command writes, absolute: the given one, where no shell may have spelt out `~`.

    What a run that was killed left half in its place is settled first, so that finished work is found.

    Args:
        given: `--out`, from a flag, the environment or `space.toml`.
        own: The workspace's.
    """
    folder = (given or own).expanduser().absolute()
    settle(Path(os.path.realpath(folder)))
    return folder


def refuse_place(folder: Path, inputs: Given, *, pictures: Given = ()) -> None:
    """Refuse, before any work, to write a folder in place of an input, inside of one, or around one.

    Args:
        folder: Where the result would be.
        inputs: Folders that are read; what is None, a hub id or gone does not count.
        pictures: Folders of images, of which what is hidden is no part: the workspace `.space` may lie in one.

    Raises:
        UsageFault: It lies so, or nothing can be put in its place.
    """
    place, inputs, pictures = real_place(folder), tuple(inputs), tuple(pictures)
    for there in _found((*inputs, *pictures)):
        if place == there:
            raise UsageFault(f"`{folder}` is read by this command: it would be replaced", hint=HINT)
        if place in there.parents and place.exists():
            raise UsageFault(f"`{folder}` holds `{there}`, which this command reads: both would be replaced", hint=HINT)
    refuse_inside(folder, inputs, pictures=pictures)


def refuse_inside(folder: Path, inputs: Given, *, pictures: Given = ()) -> None:
    """Refuse to write a folder that is an input or lies inside of one: that would change the input.

    Args:
        folder: Where results would be.
        inputs: As in `refuse_place`.
        pictures: As there.

    Raises:
        UsageFault: It lies so.
    """
    place = Path(os.path.realpath(folder))
    inside = [there for there in _found(inputs) if place.is_relative_to(there)]
    inside += [there for there in _found(pictures) if place.is_relative_to(there) and not _hidden(place, there)]
    if inside:
        raise UsageFault(f"`{folder}` lies inside `{inside[0]}`, which this command reads and would change", hint=HINT)


def recorded(records: Iterable[Record]) -> list[str]:
    """Return where the inputs of records were that are no pictures: a result must not lie there either."""
    return [source.path for record in records for source in record.inputs if source.kind != "images"]


def _found(given: Given) -> list[Path]:
    paths = [os.path.expanduser(one) for one in given if one is not None]
    # os.path, unlike pathlib, answers False to a name that no file can have: records from elsewhere may hold one.
    return [Path(os.path.realpath(path)) for path in paths if os.path.exists(path)]


def _hidden(place: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in place.relative_to(root).parts)
