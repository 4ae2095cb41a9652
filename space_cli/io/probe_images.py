"""An auditor's pictures, a sub-folder a concept."""

from collections.abc import Sequence
from pathlib import Path

from PIL.Image import Image

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.overlap import picture_digest
from space_cli.core.types import ProbeImage
from space_cli.io.entry import ImageFault, is_image_name, read_file
from space_cli.io.images import MAX_PIXELS, WORKING_SIDE, decode, shrunk
from space_cli.io.listing import files_below


def probe_images(folder: Path, *, limit: int | None) -> list[ProbeImage]:
    """Read an auditor's pictures: one sub-folder a concept, its name with `_` for a space.

    Args:
        folder: Holds the sub-folders.
        limit: Pictures of each concept to read at most, the first by name; None reads all.

    Returns:
        The pictures; of equal ones of a concept the first, since a copy is no further evidence.

    Raises:
        UsageFault: The folder is missing or has no sub-folder.
        ArtifactFault: A sub-folder has no picture, or a picture cannot be decoded.
    """
    hint = "give a folder with one sub-folder of images per concept, such as `images/red_panda/01.jpg`"
    if not folder.is_dir():
        raise UsageFault(f"`{folder}` is not a folder of images", hint=hint)
    concepts = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not concepts:
        raise UsageFault(f"`{folder}` has no sub-folder: one per concept is needed", hint=hint)
    found = [path for path in files_below(folder) if is_image_name(path.name)]
    probes: list[ProbeImage] = []
    for concept in concepts:
        paths = [path for path in found if concept in path.parents]
        if not paths:
            raise ArtifactFault(f"`{concept}` holds no image", hint=hint)
        name = concept.name.replace("_", " ")
        probes += _distinct(paths, name, limit)
    return probes


def _distinct(paths: Sequence[Path], name: str, limit: int | None) -> list[ProbeImage]:
    found: dict[bytes, ProbeImage] = {}
    for path in paths:
        if len(found) == limit:
            break
        image = _probe(path)
        found.setdefault(picture_digest(image), ProbeImage(image, name, str(path)))
    return list(found.values())


def _probe(path: Path) -> Image:
    try:
        return shrunk(decode(read_file(path), max_pixels=MAX_PIXELS, side=WORKING_SIDE))
    except ImageFault as fault:
        raise ArtifactFault(f"`{path}` cannot be used: {fault.reason}", hint="remove or replace it") from None
