"""ImageNet-1k (ILSVRC2012): a folder a synset, names in `LOC_synset_mapping.txt`.

References:
    ImageNet Large Scale Visual Recognition Challenge (Russakovsky et al., 2015), arXiv:1409.0575
"""

import csv

from collections import Counter, defaultdict
from pathlib import Path

from benchmarks.datasets._photographs import ShownConcept, counted, images_in, listed, merged, present, required
from space_cli.core.errors import ArtifactFault

LAYOUT = (
    "`LOC_synset_mapping.txt` with `train/<synset>/*.JPEG` and `val/`, here or below `ILSVRC/Data/CLS-LOC/`; "
    "`val/` holds a folder a synset, or all pictures with `LOC_val_solution.csv` beside the mapping"
)


def read(folder: Path, *, seed: int) -> list[ShownConcept]:
    """Read the synsets that are there in their official split, so `seed` changes nothing.

    Raises:
        UsageFault: The pictures or the mapping are missing.
        ArtifactFault: A list is damaged, or names a picture that is not there.
    """
    named = _names(required(folder, "LOC_synset_mapping.txt", layout=LAYOUT))
    below = folder / "ILSVRC" / "Data" / "CLS-LOC"
    images = below if below.is_dir() else folder
    train = required(images, "train", layout=LAYOUT)
    tested = _tested(folder, required(images, "val", layout=LAYOUT))
    present_ids = [synset for synset in named if (train / synset).is_dir()]
    if not present_ids:
        raise ArtifactFault(f"`{train}` has none of the synsets that the mapping names", hint=f"the layout is {LAYOUT}")
    shown = [
        ShownConcept(
            named[synset][0],
            "",
            images_in(train / synset),
            tested.get(synset, ()),
            phrase=counted(named[synset][0]),
            aliases=tuple(named[synset][1:]),
        )
        for synset in present_ids
    ]
    return merged(shown)


def _names(source: Path) -> dict[str, list[str]]:
    """Return each synset's names, the first not shared with another synset where that can be had."""
    pairs = [line.partition(" ")[::2] for line in listed(source)]
    if any(not names for _, names in pairs):
        raise ArtifactFault(f"`{source}` is no mapping: lines such as `n01440764 tench, Tinca tinca` are needed")
    synonyms = {synset: [name.strip() for name in names.split(",")] for synset, names in pairs}
    shared = Counter(name.lower() for names in synonyms.values() for name in names)
    for synset, names in synonyms.items():
        own = [name for name in names if shared[name.lower()] == 1]
        # A name that two synsets share stays an alias of neither, or erasing one would count for the other.
        synonyms[synset] = own or names[:1]
    return synonyms


def _tested(folder: Path, val: Path) -> dict[str, tuple[Path, ...]]:
    inside = [path for path in val.iterdir() if path.is_dir()]
    if inside:
        return {path.name: images_in(path) for path in inside}
    source = required(folder, "LOC_val_solution.csv", layout=LAYOUT)
    synsets: dict[str, list[Path]] = defaultdict(list)
    for row in csv.DictReader(listed(source)):
        try:
            synsets[row["PredictionString"].split()[0]].append(val / f"{row['ImageId']}.JPEG")
        except (KeyError, IndexError, AttributeError):
            raise ArtifactFault(f"`{source}` is no solution: columns ImageId and PredictionString are needed") from None
    return {synset: present(paths, source) for synset, paths in synsets.items()}
