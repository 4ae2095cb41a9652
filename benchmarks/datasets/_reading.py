"""Find the reader of a set by its file name."""

import importlib
import pkgutil

from pathlib import Path

from benchmarks.datasets._photographs import DataSet, ShownConcept
from space_cli.core.errors import UsageFault


def names() -> list[str]:
    """List the sets that can be read, without importing their readers."""
    modules = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def open_dataset(name: str, folder: Path, *, seed: int = 0) -> DataSet:
    """Read which photographs a set has of which concept; no picture is opened.

    Args:
        name: One of `names()`.
        folder: Where the set was unpacked.
        seed: Splits the photographs into train and test where the set itself does not.

    Raises:
        UsageFault: No reader has this name, or the folder lacks what the layout asks for.
        ArtifactFault: A list of the set cannot be read or names a file that is not there.
        EnvironmentFault: A package that the reader needs is not installed.
    """
    spoken = name.replace("_", "-")
    if spoken not in names():
        raise UsageFault(
            f"unknown data set `{name}`: known are {', '.join(names())}", hint="`folder` reads any folder a class"
        )
    if not folder.is_dir():
        raise UsageFault(f"`{folder}` is not a folder: where `{spoken}` was unpacked is needed")
    reader = importlib.import_module(f"{__package__}.{spoken.replace('-', '_')}")
    shown: list[ShownConcept] = reader.read(folder, seed=seed)
    return DataSet(spoken, tuple(sorted(shown, key=lambda concept: concept.name.lower())))
