"""Any set with one folder a class, with or without `train` and `test` above them."""

from pathlib import Path

from benchmarks.datasets._photographs import ShownConcept, images_in, readable, split, sub_folders

LAYOUT = "`<class>/*.jpg`, or `train/<class>/*.jpg` with `test/<class>/*.jpg`"
TEST_NAMES = ("test", "val")


def read(folder: Path, *, seed: int) -> list[ShownConcept]:
    """Read the classes; one that has no photographs in a half has none there.

    Raises:
        UsageFault: The folder has no sub-folder.
        ArtifactFault: A class has no picture.
    """
    tests = next((folder / name for name in TEST_NAMES if (folder / name).is_dir()), None)
    if tests is None or not (folder / "train").is_dir():
        return [_split(path, seed) for path in sub_folders(folder, layout=LAYOUT)]
    halves = [
        {path.name: images_in(path) for path in sub_folders(half, layout=LAYOUT)} for half in (folder / "train", tests)
    ]
    classes = sorted({*halves[0], *halves[1]})
    return [ShownConcept(readable(name), "", halves[0].get(name, ()), halves[1].get(name, ())) for name in classes]


def _split(path: Path, seed: int) -> ShownConcept:
    train, test = split(images_in(path), seed=seed)
    return ShownConcept(readable(path.name), "", train, test)
