"""Lay a set out as the commands want it: a pool without the concept, and an auditor's folder a concept.

Files are hard links to the set's own where the disk allows it, and copies elsewhere; never symbolic links.
"""

import json
import os
import shlex
import shutil

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets._photographs import DataSet, ShownConcept
from space_cli.core.errors import ArtifactFault, UsageFault


@dataclass(frozen=True)
class Sizes:
    """Photographs to take of each concept at most."""

    pool: int = 20
    probe: int = 10  # of each concept but the erased one, of which all is taken


@dataclass(frozen=True)
class Prepared:
    """What lies ready."""

    concept: ShownConcept
    folder: Path  # holds pool/, forget/ and probe/
    pool: int  # photographs
    probe: int  # photographs


def prepare(dataset: DataSet, name: str, out: Path, *, sizes: Sizes, leave_out: Iterable[str] = ()) -> Prepared:
    """Write `pool/`, `forget/` and `probe/` for erasing one concept.

    Args:
        dataset: What was read.
        name: The concept to erase.
        out: A new folder.
        sizes: Bounds per concept.
        leave_out: Other concepts that the pool must not show either.

    Raises:
        UsageFault: The set has no such concept, or `out` exists already.
        ArtifactFault: The set has no photograph left to test the concept with.
    """
    erased = dataset.find(name)
    hidden = {erased.name, *(dataset.find(other).name for other in leave_out)}
    if not erased.test:
        raise ArtifactFault(f"`{dataset.name}` has no photograph to test `{erased.name}` with")
    if out.exists():
        raise UsageFault(f"`{out}` exists already", hint="give another folder, or remove it")
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    public = [path for other in dataset.concepts if other.name not in hidden for path in other.train[: sizes.pool]]
    if not public:
        raise ArtifactFault(f"`{dataset.name}` has no photograph of anything but `{erased.name}`: the pool is empty")
    _numbered(public, part / "pool")
    _numbered(erased.train, part / "forget")
    shown = {other: other.test if other is erased else other.test[: sizes.probe] for other in dataset.concepts}
    for other, paths in shown.items():
        _numbered(paths, part / "probe" / folder_name(other.name))
    _write_notes([other for other, paths in shown.items() if paths], part / "probe" / "concepts.toml")
    part.rename(out)
    return Prepared(erased, out, len(public), sum(map(len, shown.values())))


def commands(prepared: Prepared, *, model: str, encoder: str) -> list[str]:
    """Return the four commands that erase the concept and measure what became of it."""
    folder, concept = prepared.folder, prepared.concept
    said = [
        part
        for flag, value in (("--phrase", concept.phrase), ("--kind", concept.kind))
        if value
        for part in (flag, value)
    ]
    said += [part for alias in concept.aliases for part in ("--alias", alias)]
    place = ["--workspace", str(folder / ".space")]
    lines = [
        ["space", "index", str(folder / "pool"), "--encoder", encoder, *place],
        ["space", "select", concept.name, *said, "--model", model, *place],
        ["space", "erase", "--concept", concept.name, *said, "--model", model, *place],
        ["space", "audit", "--images", str(folder / "probe"), *place],
    ]
    return [shlex.join(line) for line in lines]


def folder_name(name: str) -> str:
    """Return the sub-folder from which the audit reads this name.

    Example:
        >>> folder_name("grand piano")
        'grand_piano'
    """
    return name.replace(" ", "_").replace("/", "_")


def _numbered(paths: Iterable[Path], folder: Path) -> None:
    """Place files under running numbers, so that no name tells what a picture shows."""
    for row, path in enumerate(paths):
        folder.mkdir(parents=True, exist_ok=True)
        place(path.resolve(), folder / f"{row:06d}{path.suffix.lower()}")


def place(source: Path, target: Path) -> None:
    """Link a file, or copy it to another disk."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)


def _write_notes(shown: Iterable[ShownConcept], path: Path) -> None:
    tables = []
    for concept in shown:
        notes = {"phrase": concept.phrase, "kind": concept.kind, "aliases": list(concept.aliases)}
        # JSON strings and arrays of strings are TOML, too.
        rows = [f"{key} = {json.dumps(value)}" for key, value in notes.items() if value]
        if rows:
            tables.append("\n".join([f"[{json.dumps(concept.name)}]", *rows]) + "\n")
    path.write_text("\n".join(tables), encoding="utf-8")
