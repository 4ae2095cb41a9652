"""A checkpoint to erase from, its concepts, and the folders that one erasure is measured with."""

import json
import random
import shutil
import tomllib

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.concepts import development_concepts, test_concepts
from benchmarks.datasets import DataSet, ShownConcept, open_dataset
from benchmarks.datasets._laying import Sizes, place, prepare
from benchmarks.weights import digest_of
from benchmarks.zoo.classes import KINDS, Lesson, lessons
from space_cli.bundled.checkpoint import checkpoint_folder, encoder_folder
from space_cli.bundled.demo import write_forget, write_pool, write_probe
from space_cli.core.errors import UsageFault
from space_cli.core.matching import mentions
from space_cli.core.recipe import Concept
from space_cli.io.entry import is_image_name

SEED = 2606_09868
TESTS, DEVELOPMENTS = 6, 4
"""Concepts of a subject that the table is about, and that rivals are tuned on; none is both."""
KNOWN = 0.75
"""Share of a concept's held-out photographs that the checkpoint must name for it to take part."""
SPLITS = Path(__file__).with_name("splits.toml")
"""Test and dev concepts of data sets that have a history."""
TEST_SHARE = 0.6
"""Of a data set's concepts, where none is written down: the rest may be tuned on."""
SHOWN, FORGOTTEN_WITH, RETAINED = 24, 32, 360
"""Photographs of the concept in the probe, for rivals to train on, and of all other concepts, at most."""
POOL = 20
"""Photographs of each other concept in the pool at most."""
PUBLIC = "p"
"""What the names of photographs of no class begin with in a pool; all others are numbers."""


class Subject(Protocol):
    """What an erasure needs to know about a checkpoint."""

    name: str
    model: Path
    encoder: Path
    digest: str  # of its weights; a subject trained anew is another one
    tests: Sequence[Concept]
    developments: Sequence[Concept]
    extra: Sequence[Path]  # folders of photographs of no class, which join every pool

    def lay(self, concept: Concept, folder: Path, seed: int) -> None:
        """Write `images/`, `forget/` and `probe/` into a new folder."""
        ...


class Bundled:
    """The drawings of the bundled checkpoint, as `space demo` renders them."""

    name = "bundled"
    extra: Sequence[Path] = ()

    def __init__(self) -> None:
        self.model, self.encoder = checkpoint_folder(), encoder_folder()
        self.digest = digest_of(self.model)
        self.tests: Sequence[Concept]
        self.developments: Sequence[Concept]
        self.tests, self.developments = (
            [Concept(name=c.name, phrase=c.phrase, kind=c.kind) for c in drawn]
            for drawn in (test_concepts()[:TESTS], development_concepts()[:DEVELOPMENTS])
        )

    def lay(self, concept: Concept, folder: Path, seed: int) -> None:
        """Render them; the seed decides the views."""
        write_pool(folder / "images", concept.name, seed=seed)
        write_forget(folder / "forget", concept.name, seed=seed)
        write_probe(folder / "probe", concept.name, seed=seed)


class Trained:
    """A checkpoint of the zoo with the photographs it was trained and measured on.

    Args:
        name: How the table calls it.
        folder: What `python -m benchmarks.zoo build` wrote.
        data: The photographs, if they have moved since.
        extra: Folders of photographs that join the pool, but for those whose file or folder names the concept.

    Raises:
        UsageFault: The folder is none of the zoo, or it knows too few concepts.
    """

    def __init__(self, name: str, folder: Path, data: Path | None = None, extra: Sequence[Path] = ()) -> None:
        if not (folder / "recipe.json").is_file():
            raise UsageFault(f"`{folder}` is no checkpoint of the zoo", hint="python -m benchmarks.zoo build")
        recipe = json.loads((folder / "recipe.json").read_text("utf-8"))
        place = data or Path(recipe["data"])
        kept = folder / KINDS  # checkpoints of before it was kept have the path alone
        kinds = kept if kept.is_file() else Path(recipe["kinds"]) if recipe["kinds"] else None
        taught = lessons(open_dataset("folder", place, seed=recipe["seed"]), kinds)
        self.name, self._folder = name, folder
        self.extra: Sequence[Path] = tuple(extra)
        self.model, self.encoder = folder.resolve() / "llava", folder.resolve() / "encoder"
        self.digest = digest_of(self.model)
        self._data = DataSet(name, tuple(_shown(lesson) for lesson in taught))
        known: dict[str, float] = json.loads((folder / "figures.json").read_text("utf-8"))["named, by class"]
        sides = split([lesson.concept.name for lesson in taught], name)
        drawn = chosen(sides, {one for one, share in known.items() if share >= KNOWN}, name)
        self.tests: Sequence[Concept]
        self.developments: Sequence[Concept]
        self.tests, self.developments = ([self._concept(one) for one in part] for part in drawn)

    def lay(self, concept: Concept, folder: Path, seed: int) -> None:
        """Link the photographs; the seed draws them where there are more than enough."""
        others = len(self._data.concepts) - 1
        shown = max(3, RETAINED // others)
        fewer = tuple(_fewer(one, seed, SHOWN if one.name == concept.name else shown) for one in self._data.concepts)
        laid = folder.with_name(f"{folder.name}.laid")
        shutil.rmtree(laid, ignore_errors=True)
        prepare(DataSet(self.name, fewer), concept.name, laid, sizes=Sizes(POOL, shown))
        shutil.copyfile(self._folder / "concepts.toml", laid / "probe" / "concepts.toml")
        (laid / "pool").rename(laid / "images")
        _add_public(self.extra, concept, laid / "images")
        for part in ("images", "forget", "probe"):
            (laid / part).rename(folder / part)
        laid.rmdir()

    def _concept(self, name: str) -> Concept:
        shown = self._data.find(name)
        return Concept(name=shown.name, phrase=shown.phrase, kind=shown.kind)


@dataclass(frozen=True)
class Job:
    """What is erased from what, with which draw."""

    subject: Subject
    concept: Concept
    seed: int


def split(names: Sequence[str], subject: str) -> tuple[list[str], list[str]]:
    """Return test and dev concepts of a data set in the order in which they are taken.

    It does not depend on what a checkpoint knows: weights trained anew know other concepts, and what was a test concept
    of one must not be a dev concept of the next.
    """
    written = tomllib.loads(SPLITS.read_text("utf-8")).get(subject)
    if written and {*written["tests"], *written["developments"]} <= {*names}:
        return written["tests"], written["developments"]
    order = random.Random(f"{SEED}/{subject}").sample(sorted(names), len(names))
    tests = round(TEST_SHARE * len(order))
    return order[:tests], order[tests:]


def chosen(sides: tuple[Sequence[str], Sequence[str]], known: set[str], subject: str) -> tuple[list[str], list[str]]:
    """Return the first test and dev concepts that the checkpoint knows.

    Raises:
        UsageFault: There are too few.
    """
    found = []
    for side, wanted, what in zip(sides, (TESTS, DEVELOPMENTS), ("test", "dev"), strict=True):
        taken = [name for name in side if name in known][:wanted]
        if len(taken) < wanted:
            raise UsageFault(
                f"`{subject}` knows {len(taken)} of its {what} concepts well enough: {wanted} are needed",
                hint="train it longer, or on more classes",
            )
        found.append(taken)
    return found[0], found[1]


def open_subjects(given: Sequence[str], data: Sequence[str], extra: Sequence[Path]) -> Iterator[Subject]:
    """Open `bundled` and `NAME=FOLDER`, each with the photographs that `NAME=FOLDER` of `data` names.

    Raises:
        UsageFault: A subject is neither.
    """
    moved = dict(_pair(one) for one in data)
    for one in given:
        if one == Bundled.name:
            yield Bundled()
        else:
            name, folder = _pair(one)
            yield Trained(name, Path(folder), Path(moved[name]) if name in moved else None, extra)


def _pair(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise UsageFault(f"`{text}` is not NAME=FOLDER", hint="`bundled`, or a name and a folder of the zoo")
    return name, folder


def _shown(lesson: Lesson) -> ShownConcept:
    taught = lesson.concept
    return ShownConcept(taught.name, taught.kind, lesson.train, lesson.test, taught.phrase)


def _fewer(shown: ShownConcept, seed: int, tested: int) -> ShownConcept:
    rng = random.Random(f"{SEED}/{seed}/{shown.name}")
    parts: list[Any] = [
        tuple(sorted(rng.sample(paths, min(count, len(paths)))))
        for paths, count in ((shown.train, FORGOTTEN_WITH), (shown.test, tested))
    ]
    return replace(shown, train=parts[0], test=parts[1])


def _add_public(folders: Sequence[Path], concept: Concept, pool: Path) -> None:
    """Link photographs of no class into the pool under running numbers, none whose path names the concept."""
    found = (path for folder in folders for path in sorted(folder.rglob("*")) if is_image_name(path.name))
    for row, path in enumerate(found):
        if mentions(f"{path.parent.name} {path.stem}".replace("_", " "), concept.names):
            continue
        place(path.resolve(), pool / f"{PUBLIC}{row:06d}{path.suffix.lower()}")
