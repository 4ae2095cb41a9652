"""Concepts out of photographs that their file names tell apart: `train` and `test` with a folder a concept.

ImageNet's files begin with the WordNet id of what they show (`n02085620_…jpg`), and the ids of one branch of WordNet
follow each other, so that a range of them is a concept: `n02085620-n02113978` are the breeds of dogs. Those of the
Grocery Store data set begin with the variety (`Granny-Smith_001.jpg`).
"""

import re
import shutil

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

from benchmarks.datasets._laying import folder_name, place
from benchmarks.datasets._photographs import split
from benchmarks.zoo.classes import Entry, read_entries
from space_cli.core.errors import UsageFault
from space_cli.io.artifact import digest_file
from space_cli.io.entry import is_image_name

FEWEST = 2
"""Photographs of a concept: one to train and one to test with."""
TESTED = 0.4
"""Share of a concept's photographs to test with where the set has no halves: of a few, a quarter would be too few to
tell an accuracy."""
HALVES = ("train", "test")
_ID = re.compile(r"n\d{8}(?=[_.])")
_RANGE = re.compile(r"(n\d{8})(?:-(n\d{8}))?")


def group(kinds: Path, folders: Sequence[Path], out: Path, *, seed: int = 0) -> dict[str, int]:
    """Link each photograph into the folder of its concept; photographs of no concept are left out.

    A photograph that two folders hold, byte by byte, is taken once: it must not be both trained and tested with. What
    the set itself keeps in `train` or `test` stays there.

    Args:
        kinds: TOML as `build` takes it, each concept with `wordnet`, ids or first and last id of a range, or with
            `files`, what the names of its photographs begin with.
        folders: Looked through with all below them.
        out: A new folder.
        seed: Splits each concept's photographs into train and test where the set does not.

    Returns:
        Photographs of each concept.

    Raises:
        UsageFault: `out` exists, `kinds` is no such file or lets a photograph be of two concepts, or a concept has
            nothing to train or to test with.
    """
    if out.exists():
        raise UsageFault(f"`{out}` exists already", hint="give another folder, or remove it")
    entries = read_entries(kinds)
    for name, entry in entries.items():
        if not entry.wordnet and not entry.files:
            raise UsageFault(f"`{kinds}` says of `{name}` neither `wordnet` ids nor `files`")
    naming = Naming(_ranges(entries, kinds), _beginnings(entries, kinds))
    found: dict[str, dict[str, list[Path]]] = {name: {half: [] for half in ("", *HALVES)} for name in entries}
    for concept, half, path in _named(folders, naming):
        found[concept][half].append(path)
    halved = {name: _halved(name, photographs, seed) for name, photographs in found.items()}
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for name, halves in halved.items():
        for half, members in zip(HALVES, halves, strict=True):
            folder = part / half / folder_name(name)
            folder.mkdir(parents=True)
            for row, path in enumerate(members):
                place(path.resolve(), folder / f"{row:04d}_{path.name}")
    part.rename(out)
    return {name: sum(map(len, halves)) for name, halves in halved.items()}


@dataclass(frozen=True)
class Naming:
    """How the name of a file tells the concept."""

    ranges: Sequence[tuple[str, str, str]]  # first WordNet id, last one and concept
    beginnings: Mapping[str, str]  # of the name -> concept

    def concept(self, name: str) -> str | None:
        """Return the concept that a file of this name shows, if it is one of them."""
        for beginning, concept in self.beginnings.items():
            if name.startswith(f"{beginning}_"):
                return concept
        identity = _ID.match(name)
        if identity is None:
            return None
        return next((concept for first, last, concept in self.ranges if first <= identity[0] <= last), None)


def _halved(name: str, found: Mapping[str, list[Path]], seed: int) -> list[tuple[Path, ...]]:
    """Return what is trained and what is tested with."""
    if sum(map(len, found.values())) < FEWEST:
        raise UsageFault(f"{sum(map(len, found.values()))} photographs of `{name}`: at least {FEWEST} are needed")
    drawn = split(found[""], seed=seed, share=TESTED)
    halves = [tuple(sorted([*found[half], *more])) for half, more in zip(HALVES, drawn, strict=True)]
    if not all(halves):
        raise UsageFault(
            f"`{name}` has {len(halves[0])} photographs to train and {len(halves[1])} to test with: both are needed"
        )
    return halves


def _ranges(entries: dict[str, Entry], kinds: Path) -> list[tuple[str, str, str]]:
    """Return first id, last id and concept, in order.

    Raises:
        UsageFault: A concept has no range, or one that is none, or two ranges overlap.
    """
    found = []
    for name, entry in entries.items():
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


def _beginnings(entries: dict[str, Entry], kinds: Path) -> dict[str, str]:
    """Return the concept of each beginning of a file's name.

    Raises:
        UsageFault: A name could begin with two of them.
    """
    found = [(beginning, name) for name, entry in entries.items() for beginning in entry.files]
    for (one, its), (other, others) in combinations(found, 2):
        if f"{one}_".startswith(f"{other}_") or f"{other}_".startswith(f"{one}_"):
            raise UsageFault(f"`{kinds}` lets `{max(one, other)}_…` be both `{its}` and `{others}`")
    return dict(found)


def _named(folders: Sequence[Path], naming: Naming) -> Iterator[tuple[str, str, Path]]:
    """Yield concept, half of the set ("" for none) and photograph, each content once."""
    taken: set[str] = set()
    for folder in folders:
        for path in (path for path in sorted(folder.rglob("*")) if is_image_name(path.name)):
            concept = naming.concept(path.name)
            if concept is not None and (digest := digest_file(path)) not in taken:
                taken.add(digest)
                half = path.relative_to(folder).parts[0]
                yield concept, half if half in HALVES else "", path
