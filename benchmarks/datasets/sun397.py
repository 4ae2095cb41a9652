"""SUN397: scenes in nested folders, ten official partitions of which the first is read.

References:
    SUN Database: Large-scale Scene Recognition from Abbey to Zoo (Xiao et al., 2010)
"""

from collections import defaultdict
from pathlib import Path

from benchmarks.datasets._photographs import ShownConcept, listed, merged, present, readable, required
from space_cli.core.errors import ArtifactFault

LAYOUT = (
    "`SUN397/<letter>/<scene>/*.jpg` with `ClassName.txt`, `Training_01.txt` and `Testing_01.txt`, "
    "beside it or in `Partitions/`"
)
LEADING = frozenset({"cultivated", "exterior", "indoor", "interior", "natural", "outdoor", "sand", "urban", "wild"})
"""Qualifiers that English puts before the scene; the others follow it ("subway station platform")."""


def read(folder: Path, *, seed: int) -> list[ShownConcept]:
    """Read the scenes in their first official partition, so `seed` changes nothing.

    Raises:
        UsageFault: The pictures or a list are missing.
        ArtifactFault: A list is damaged, or names a picture that is not there.
    """
    images = required(folder, "SUN397", layout=LAYOUT)
    lists = folder / "Partitions" if (folder / "Partitions").is_dir() else folder
    scenes = listed(required(lists, "ClassName.txt", layout=LAYOUT))
    train, test = (
        _by_scene(images, required(lists, f"{half}_01.txt", layout=LAYOUT)) for half in ("Training", "Testing")
    )
    shown = [ShownConcept(scene_name(scene), "place", train.get(scene, ()), test.get(scene, ())) for scene in scenes]
    return merged(shown)


def scene_name(scene: str) -> str:
    """Return what a person would call a scene of `ClassName.txt`.

    Example:
        >>> scene_name("/c/church/indoor"), scene_name("/s/subway_station/platform"), scene_name("/a/abbey")
        ('indoor church', 'subway station platform', 'abbey')
    """
    parts = [readable(part) for part in scene.strip("/").split("/")[1:]]
    place, details = parts[0], parts[1:]
    before = [detail for detail in details if detail.split()[0] in LEADING]
    return " ".join([*before, place, *(detail for detail in details if detail not in before)])


def _by_scene(images: Path, source: Path) -> dict[str, tuple[Path, ...]]:
    scenes: dict[str, list[Path]] = defaultdict(list)
    for line in listed(source):
        scene, _, file = line.rpartition("/")
        if not scene.startswith("/"):
            raise ArtifactFault(f"`{source}` is no partition: lines such as `/a/abbey/sun_….jpg` are needed")
        scenes[scene].append(images / scene.strip("/") / file)
    return {scene: present(paths, source) for scene, paths in scenes.items()}
