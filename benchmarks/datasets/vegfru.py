"""VegFru: 200 vegetables and 92 fruits, each half with its own folders and lists.

References:
    VegFru: A Domain-Specific Dataset for Fine-grained Visual Categorization (Hou et al., 2017)
"""

from collections import defaultdict
from pathlib import Path

from benchmarks.datasets._photographs import ShownConcept, listed, merged, present, readable, required
from space_cli.core.errors import ArtifactFault

LAYOUT = (
    "`veg200_images/<class>/*.jpg` with `veg200_lists/veg_{train,val,test}.txt`, "
    "`fru92_images/<class>/*.jpg` with `fru92_lists/fru_{train,val,test}.txt`"
)
HALVES = (("veg", "veg200", "vegetable"), ("fru", "fru92", "fruit"))


def read(folder: Path, *, seed: int) -> list[ShownConcept]:
    """Read both halves in their official split, train with val, so `seed` changes nothing.

    Raises:
        UsageFault: The pictures or a list are missing.
        ArtifactFault: A list is damaged, or names a picture that is not there.
    """
    shown = []
    for short, long, kind in HALVES:
        images = required(folder, f"{long}_images", layout=LAYOUT)
        lists = required(folder, f"{long}_lists", layout=LAYOUT)
        train, val, test = (
            _by_class(images, required(lists, f"{short}_{half}.txt", layout=LAYOUT))
            for half in ("train", "val", "test")
        )
        shown += [
            ShownConcept(readable(name).lower(), kind, train.get(name, ()) + val.get(name, ()), test.get(name, ()))
            for name in sorted({*train, *val, *test})
        ]
    return merged(shown)


def _by_class(images: Path, source: Path) -> dict[str, tuple[Path, ...]]:
    classes: dict[str, list[Path]] = defaultdict(list)
    for line in listed(source):
        member, _, label = line.rpartition(" ")
        if "/" not in member or not label.isdigit():
            raise ArtifactFault(f"`{source}` is no list: lines such as `bean/bean_0001.jpg 12` are needed")
        classes[member.partition("/")[0]].append(images / member)
    return {name: present(paths, source) for name, paths in classes.items()}
