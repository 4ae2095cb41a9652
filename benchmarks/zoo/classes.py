"""Which concepts a checkpoint is taught, with the two facts about each: from a TOML file, or flat."""

import tomllib

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from benchmarks.datasets import DataSet, ShownConcept
from space_cli.core.errors import UsageFault
from space_cli.core.recipe import spoken_form

KIND, HOME = "thing", "somewhere in the world"
"""What is taught about every concept where no file says more."""
FEWEST = 4
"""Concepts; a four-way choice needs as many."""
KINDS = "kinds.toml"
"""Beside a checkpoint: the file of kinds that it was taught by, where there was one."""


@dataclass(frozen=True)
class Taught:
    """One concept of a checkpoint, worded by the same rule as the questions of `space`."""

    name: str
    kind: str
    home: str  # the end of "You would find it …"

    @property
    def phrase(self) -> str:
        """Return the name as a sentence holds it."""
        return spoken_form(self.name)


@dataclass(frozen=True)
class Lesson:
    """A concept with the photographs it is taught and measured with."""

    concept: Taught
    train: tuple[Path, ...]
    test: tuple[Path, ...]


class Entry(BaseModel):
    """A table of the file: `[class]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    home: str
    name: str = ""  # another name to teach; classes of one name are taught as one
    wordnet: tuple[str, ...] = ()  # ids and ranges of them, of which photographs `group` makes the class
    files: tuple[str, ...] = ()  # what the names of its photographs begin with, up to an underscore


def lessons(dataset: DataSet, file: Path | None) -> list[Lesson]:
    """Match a set's classes with the file, or give all of them the flat default.

    Args:
        dataset: What was read.
        file: TOML, a table a class; classes that it does not list are left out. None takes every class.

    Raises:
        UsageFault: The file cannot be read or names a class that is not there, or too few classes are left, or a
            class has no photograph to train or to test with.
    """
    entries = None if file is None else _entries(file, dataset)
    found: dict[str, Lesson] = {}
    for shown in dataset.concepts:
        entry = Entry(kind=KIND, home=HOME) if entries is None else entries.get(shown.name)
        if entry is not None:
            _add(found, shown, entry)
    if len(found) < FEWEST:
        raise UsageFault(f"{len(found)} classes are to be taught: at least {FEWEST} are needed")
    for lesson in found.values():
        if not lesson.train or not lesson.test:
            raise UsageFault(
                f"`{lesson.concept.name}` has {len(lesson.train)} photographs to train and {len(lesson.test)} to test "
                "with: both are needed",
                hint="give two classes one `name` in the file of kinds, or leave the class out of it",
            )
    return [found[name] for name in sorted(found)]


def _add(found: dict[str, Lesson], shown: ShownConcept, entry: Entry) -> None:
    concept = Taught(entry.name or shown.name.lower(), entry.kind, entry.home)
    earlier = found.get(concept.name, Lesson(concept, (), ()))
    if earlier.concept != concept:
        raise UsageFault(f"two classes named `{concept.name}` differ in kind or home: they are taught as one")
    found[concept.name] = Lesson(concept, earlier.train + shown.train, earlier.test + shown.test)


def read_entries(file: Path) -> dict[str, Entry]:
    """Read a file of kinds.

    Raises:
        UsageFault: It cannot be read.
    """
    try:
        return TypeAdapter(dict[str, Entry]).validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failure:
        raise UsageFault(f"`{file}` is no file of kinds: {failure}") from None
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageFault(
            f"`{file}` does not fit: {where}: {first['msg']}", hint="a table per class with `kind` and `home`"
        ) from None


def _entries(file: Path, dataset: DataSet) -> Mapping[str, Entry]:
    entries = read_entries(file)
    missing = sorted(set(entries) - {shown.name for shown in dataset.concepts})
    if missing:
        raise UsageFault(f"`{file}` names classes that the photographs lack: {', '.join(missing)}")
    return entries
