"""Celebrities in the layout of MMUBench: a folder a concept, one photograph to unlearn with, the rest to test.

References:
    Single Image Unlearning (Li et al., 2024), arXiv:2405.12523
"""

from pathlib import Path

from benchmarks.datasets._photographs import ShownConcept, images_in, readable, sub_folders
from space_cli.core.errors import ArtifactFault

LAYOUT = "`<Concept_name>/*.jpg`, at least two photographs each"
# MMUBench holds more than people; these of its names are known not to be.
OTHER_KINDS = {
    "doodle": "drawing style",
    "facebook": "brand",
    "hello kitty": "cartoon character",
    "mario": "game character",
}


def read(folder: Path, *, seed: int) -> list[ShownConcept]:
    """Read the concepts; the first photograph by name is the one to unlearn with, so `seed` changes nothing.

    Raises:
        UsageFault: The folder has no sub-folder.
        ArtifactFault: A concept has fewer than two photographs.
    """
    return [_concept(path) for path in sub_folders(folder, layout=LAYOUT)]


def _concept(path: Path) -> ShownConcept:
    paths = images_in(path)
    if len(paths) < 2:
        raise ArtifactFault(f"`{path}` holds one picture: one to unlearn with and others to test are needed")
    name = readable(path.name)
    return ShownConcept(name, OTHER_KINDS.get(name.lower(), "person"), paths[:1], paths[1:])
