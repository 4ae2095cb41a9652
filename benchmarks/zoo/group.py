"""Coarse concepts out of photographs that are named by WordNet id: `train` and `test` with a folder a concept.

ImageNet's files begin with the id of what they show (`n02085620_…jpg`), and the ids of one branch of WordNet follow
each other, so that a range of them is a concept: `n02085620-n02113978` are the breeds of dogs.
"""

import re
import shutil

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.datasets._laying import folder_name, place
from benchmarks.datasets._photographs import split
from benchmarks.zoo.classes import Entry, read_entries
from space_cli.core.errors import UsageFault
from space_cli.io.artifact import digest_file
from space_cli.io.sources import is_image_name

FEWEST = 2
"""Photographs of a concept: one to train and one to test with."""
TESTED = 0.4
"""Share of a concept's photographs to test with: of a few, a quarter would be too few to tell an accuracy."""
_ID = re.compile(r"n\d{8}(?=[_.])")
_RANGE = re.compile(r"(n\d{8})(?:-(n\d{8}))?")


def group(kinds: Path, folders: Sequence[Path], out: Path, *, seed: int = 0) -> dict[str, int]:
    """Link each photograph into the folder of its concept; photographs of no concept are left out.

    A photograph that two folders hold, byte by byte, is taken once: it must not be both trained and tested with.

    Args:
        kinds: TOML as `build` takes it, each concept with `wordnet`: ids, or first and last id of a range.
        folders: Looked through with all below them.
        out: A new folder.
        seed: Splits each concept's photographs into train and test.

    Returns:
        Photographs of each concept.

    Raises:
        UsageFault: `out` exists, `kinds` is no such file or lets an id be two concepts, or a concept has less than two
            photographs.
    """
    if out.exists():
        raise UsageFault(f"`{out}` exists already", hint="give another folder, or remove it")
    ranges = _ranges(read_entries(kinds), kinds)
    found: dict[str, list[Path]] = {name: [] for _, _, name in ranges}
    for concept, path in _named(folders, ranges):
        found[concept].append(path)
    for name, paths in found.items():
        if len(paths) < FEWEST:
            raise UsageFault(f"{len(paths)} photographs of `{name}`: at least {FEWEST} are needed")
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for name, paths in found.items():
        for half, members in zip(("train", "test"), split(paths, seed=seed, share=TESTED), strict=True):
            folder = part / half / folder_name(name)
            folder.mkdir(parents=True)
            for row, path in enumerate(members):
                place(path.resolve(), folder / f"{row:04d}_{path.name}")
    part.rename(out)
    return {name: len(paths) for name, paths in found.items()}


def _ranges(entries: dict[str, Entry], kinds: Path) -> list[tuple[str, str, str]]:
    """Return first id, last id and concept, in order.

    Raises:
        UsageFault: A concept has no range, or one that is none, or two ranges overlap.
    """
    found = []
    for name, entry in entries.items():
        if not entry.wordnet:
            raise UsageFault(f"`{kinds}` says of `{name}` no `wordnet` ids")
        for written in entry.wordnet:
            both = _RANGE.fullmatch(written)
            if both is None or (both[2] or both[1]) < both[1]:
                raise UsageFault(f"`{written}` of `{name}` is no WordNet id and no range of them")
            found.append((both[1], both[2] or both[1], name))
    found.sort()
    for (_, last, one), (first, _, other) in pairwise(found):
        if first <= last:
            raise UsageFault(f"`{kinds}` lets `{first}` be both `{one}` and `{other}`")
    return found


def _named(folders: Sequence[Path], ranges: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, Path]]:
    """Yield photographs of some concept with its name, each content once."""
    taken: set[str] = set()
    for path in (path for folder in folders for path in sorted(folder.rglob("*")) if is_image_name(path.name)):
        concept = _concept(path.name, ranges)
        if concept is not None and (digest := digest_file(path)) not in taken:
            taken.add(digest)
            yield concept, path


def _concept(name: str, ranges: Sequence[tuple[str, str, str]]) -> str | None:
    identity = _ID.match(name)
    if identity is None:
        return None
    return next((concept for first, last, concept in ranges if first <= identity[0] <= last), None)
