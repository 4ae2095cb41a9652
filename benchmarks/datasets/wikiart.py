"""WikiArt (refined): paintings in folders of styles, the 23 artists' split in CSV lists.

References:
    Improved ArtGAN for Conditional Synthesis of Natural Image and Artwork (Tan et al., 2019), arXiv:1708.09533
"""

import csv

from collections import defaultdict
from pathlib import Path

from benchmarks.datasets._photographs import ShownConcept, listed, present, readable, required
from space_cli.core.errors import ArtifactFault

LAYOUT = "`wikiart/<Style>/*.jpg` with `wikiart_csv/artist_{class.txt,train.csv,val.csv}`"
HEADING = "(Path to image)"


def read(folder: Path, *, seed: int) -> list[ShownConcept]:
    """Read the artists in their official split, so `seed` changes nothing.

    Raises:
        UsageFault: The pictures or a list are missing.
        ArtifactFault: A list is damaged, or names a picture that is not there.
    """
    images = required(folder, "wikiart", layout=LAYOUT)
    lists = required(folder, "wikiart_csv", layout=LAYOUT)
    artists = _artists(required(lists, "artist_class.txt", layout=LAYOUT))
    train, test = (
        _by_artist(images, required(lists, f"artist_{half}.csv", layout=LAYOUT)) for half in ("train", "val")
    )
    return [
        ShownConcept(name, "painting", train.get(number, ()), test.get(number, ()), phrase=f"a painting by {name}")
        for number, name in artists.items()
    ]


def _artists(source: Path) -> dict[str, str]:
    pairs = [line.split(maxsplit=1) for line in listed(source)]
    if any(len(pair) != 2 for pair in pairs):
        raise ArtifactFault(f"`{source}` is no list of artists: lines such as `21 Salvador_Dali` are needed")
    return {number: readable(name) for number, name in pairs}


def _by_artist(images: Path, source: Path) -> dict[str, tuple[Path, ...]]:
    """Read a list; those in the repository of the set have a line of headings, and an empty field in each row."""
    artists: dict[str, list[Path]] = defaultdict(list)
    for number, row in enumerate(csv.reader(listed(source))):
        fields = [field.strip() for field in row if field.strip()]
        if number == 0 and fields[:1] == [HEADING]:
            continue
        if len(fields) != 2:
            raise ArtifactFault(f"`{source}` is no list of paintings: rows of a path and a class are needed")
        artists[fields[1]].append(images / fields[0])
    return {artist: present(paths, source) for artist, paths in artists.items()}
