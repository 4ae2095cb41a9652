"""Stanford Dogs: 120 breeds under `Images/`, the official split in two MATLAB lists.

References:
    Novel Dataset for Fine-Grained Image Categorization (Khosla et al., 2011)
"""

from collections import defaultdict
from pathlib import Path

from benchmarks.datasets._photographs import ShownConcept, counted, present, readable, required
from space_cli.core.errors import ArtifactFault, EnvironmentFault

LAYOUT = "`Images/<synset>-<Breed>/*.jpg` with `train_list.mat` and `test_list.mat`, beside it or in `lists/`"


def read(folder: Path, *, seed: int) -> list[ShownConcept]:
    """Read the breeds in their official split, so `seed` changes nothing.

    Raises:
        UsageFault: The pictures or a list are missing.
        ArtifactFault: A list cannot be read, or names a picture that is not there.
        EnvironmentFault: `scipy` is not installed.
    """
    images = required(folder, "Images", layout=LAYOUT)
    lists = folder / "lists" if (folder / "lists").is_dir() else folder
    halves = [_by_breed(images, required(lists, f"{half}_list.mat", layout=LAYOUT)) for half in ("train", "test")]
    return [_concept(breed, *(half.get(breed, ()) for half in halves)) for breed in sorted({*halves[0], *halves[1]})]


def _concept(breed: str, train: tuple[Path, ...], test: tuple[Path, ...]) -> ShownConcept:
    name = readable(breed.partition("-")[2])
    return ShownConcept(name, "dog", train, test, phrase=counted(name))


def _by_breed(images: Path, source: Path) -> dict[str, tuple[Path, ...]]:
    breeds: dict[str, list[Path]] = defaultdict(list)
    for member in _members(source):
        breeds[member.partition("/")[0]].append(images / member)
    return {breed: present(paths, source) for breed, paths in breeds.items()}


def _members(source: Path) -> list[str]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ModuleNotFoundError:
        raise EnvironmentFault(
            "the lists of Stanford Dogs are MATLAB files: needs the package `scipy`",
            hint="in a clone of space: pip install '.[zoo]'",
        ) from None
    try:
        rows = loadmat(source)["file_list"].ravel()
    except (MatReadError, OSError, ValueError, KeyError, TypeError, NotImplementedError) as failure:
        raise ArtifactFault(f"`{source}` is no list of Stanford Dogs: {str(failure).splitlines()[0]}") from None
    return [str(row.item()) for row in rows]
