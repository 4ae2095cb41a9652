"""What every reader yields, and the few steps that several of them share."""

import random

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.matching import words
from space_cli.io.entry import is_image_name

TEST_SHARE = 0.25
"""Of a concept's photographs where the set has no split of its own."""


@dataclass(frozen=True)
class ShownConcept:
    """One concept of a set with its photographs."""

    name: str  # as a person would say it: "Donald Trump", "grand piano"
    kind: str  # "person", "dog", …; empty where the set does not tell
    train: tuple[Path, ...]
    test: tuple[Path, ...]
    phrase: str = ""  # the name as a sentence holds it, where the rule of `space` would get it wrong
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """A set that was read, its concepts by name."""

    name: str
    concepts: tuple[ShownConcept, ...]

    def find(self, name: str) -> ShownConcept:
        """Return the concept of this name or alias; case, accents and punctuation do not count.

        Raises:
            UsageFault: There is none.
        """
        for concept in self.concepts:
            if any(words(name) == words(known) for known in (concept.name, *concept.aliases)):
                return concept
        known = ", ".join(concept.name for concept in self.concepts[:12])
        more = f" and {len(self.concepts) - 12} more" if len(self.concepts) > 12 else ""
        raise UsageFault(f"`{self.name}` has no concept `{name}`: it has {known}{more}")


def readable(text: str) -> str:
    """Turn a folder's name into words.

    Example:
        >>> readable("Pablo_Picasso"), readable("bamboo_shoot")
        ('Pablo Picasso', 'bamboo shoot')
    """
    return " ".join(text.replace("_", " ").split())


def counted(name: str) -> str:
    """Return a common noun with its article, also where it begins with a proper name.

    Example:
        >>> counted("Afghan hound"), counted("tench")
        ('an Afghan hound', 'a tench')
    """
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def required(folder: Path, path: str, *, layout: str) -> Path:
    """Return a file or folder of a set.

    Raises:
        UsageFault: It is not there.
    """
    found = folder / path
    if not found.exists():
        raise UsageFault(f"`{folder}` has no `{path}`", hint=f"the layout is {layout}")
    return found


def listed(path: Path) -> list[str]:
    """Return the lines of a list, without empty ones.

    Raises:
        ArtifactFault: It is no UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ArtifactFault(f"`{path}` is not UTF-8 text") from None
    return [line.strip() for line in lines if line.strip()]


def sub_folders(folder: Path, *, layout: str) -> list[Path]:
    """Return the folders inside a folder, by name.

    Raises:
        UsageFault: There is none.
    """
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise UsageFault(f"`{folder}` holds no folder", hint=f"the layout is {layout}")
    return found


def images_in(folder: Path) -> tuple[Path, ...]:
    """Return the pictures below a folder, by name.

    Raises:
        ArtifactFault: There is none.
    """
    found = tuple(sorted(path for path in folder.rglob("*") if is_image_name(path.name)))
    if not found:
        raise ArtifactFault(f"`{folder}` holds no picture", hint="unpack the set again, or remove the empty folder")
    return found


def present(paths: Sequence[Path], source: Path) -> tuple[Path, ...]:
    """Return the paths that a list names.

    Raises:
        ArtifactFault: A file is not there.
    """
    gone = next((path for path in paths if not path.is_file()), None)
    if gone is not None:
        raise ArtifactFault(f"`{source}` names `{gone}`, which is not there", hint="unpack the pictures of the set")
    return tuple(sorted(paths))


def split(paths: Sequence[Path], *, seed: int, share: float = TEST_SHARE) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Divide a concept's photographs into train and test by a seed; the same names divide the same way anywhere."""
    ordered = sorted(paths)
    if len(ordered) < 2:
        return tuple(ordered), ()
    drawn = random.Random(f"{seed}/{ordered[0].parent.name}").sample(ordered, len(ordered))
    tested = max(1, round(share * len(ordered)))
    return tuple(sorted(drawn[tested:])), tuple(sorted(drawn[:tested]))


def merged(shown: Sequence[ShownConcept]) -> list[ShownConcept]:
    """Join concepts of one name: whoever erases the name erases them all."""
    joined: dict[str, ShownConcept] = {}
    for concept in shown:
        earlier = joined.get(concept.name)
        if earlier is None:
            joined[concept.name] = concept
            continue
        joined[concept.name] = replace(
            earlier,
            train=earlier.train + concept.train,
            test=earlier.test + concept.test,
            aliases=tuple(dict.fromkeys(earlier.aliases + concept.aliases)),
        )
    return list(joined.values())
