"""Pictures from bytes: bounded, upright, RGB; a hostile file costs a reason and no memory.

Shapes: h, w = pixels of a picture.
"""

import hashlib
import struct
import zlib

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from PIL import Image as Pillow
from PIL import ImageFile, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Image, Resampling
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.types import Item
from space_cli.io import sources
from space_cli.io.entry import ImageFault
from space_cli.io.jpegs import MAX_SCANS, has_endless_scans

__all__ = [
    "ImageFault", "Pixels", "content_hash", "decode", "header_size", "load_items", "pixels_of",
    "readable_images", "shrunk",
]  # fmt: skip

MAX_PIXELS = 64_000_000
"""Pixels of a probe picture; the same limit that `space index` starts from."""
MAX_ASPECT = 100
"""Long side over short side; resizing a thinner strip by its short side would itself be a bomb."""
WORKING_SIDE = 672
"""Pixels of the short side that a loaded picture keeps at least: twice what the widest common tower reads."""

# Chosen by signature rather than through `Image.open`, whose own pixel limit is a global.
_READERS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"RIFF", WebPImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
)
# What Pillow raises for damaged files, found by cutting and flipping bytes of each format.
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError,
    struct.error, zlib.error, Pillow.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class Pixels:
    """From a picture to what a tower reads, by the rules of a `preprocessor_config.json`.

    The usual image processors give the same numbers and take twice the time, much under the interpreter's
    lock, which keeps decoding threads from filling the machine.
    """

    resize: tuple[int, int] | int  # (height, width), or the short side alone
    crop: tuple[int, int] | None  # (height, width) from the centre
    resample: int  # Pillow's number
    scale: tuple[float, ...]  # per channel: factor on 0 … 255
    shift: tuple[float, ...]  # per channel: added after

    def __call__(self, image: Image) -> Tensor:
        """Return [3, h, w] float32."""
        image = image.resize(self._target(image), Resampling(self.resample))
        if self.crop is not None:
            image = _centre(image, *self.crop)
        values = np.asarray(image, dtype=np.uint8).transpose(2, 0, 1) * _channels(self.scale)
        values += _channels(self.shift)
        return torch.from_numpy(np.ascontiguousarray(values))

    def _target(self, image: Image) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        short, long = sorted(image.size)
        longer = int(self.resize * long / short)
        return (self.resize, longer) if image.width <= image.height else (longer, self.resize)


def pixels_of(config: Mapping[str, Any], side: int) -> Pixels:
    """Read the rules of an image processor.

    Args:
        config: The processor as a dictionary, its defaults filled in.
        side: Pixels of the square that the tower reads.

    Raises:
        ArtifactFault: It ends with another size, or asks for a step that `Pixels` does not have.
    """
    size, crop = config.get("size") or {}, config.get("crop_size") or {}
    resize = size.get("shortest_edge") or (size.get("height", 0), size.get("width", 0))
    cut = (crop["height"], crop["width"]) if config.get("do_center_crop") else None
    if (cut or resize) != (side, side) or not config.get("do_resize", True) or config.get("do_pad"):
        raise ArtifactFault(
            f"the image processor ends with {cut or resize} pixels: the tower reads {side} x {side}",
            hint="take the `preprocessor_config.json` as it was published with the weights",
        )
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    normal = config.get("do_normalize", True)
    mean, std = (config["image_mean"], config["image_std"]) if normal else ((0.0,) * 3, (1.0,) * 3)
    scale = tuple(factor / each for each in std)
    shift = tuple(-middle / each for middle, each in zip(mean, std, strict=True))
    return Pixels(resize, cut, int(config.get("resample", Resampling.BICUBIC)), scale, shift)


def _channels(values: tuple[float, ...]) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)[:, None, None]


def _centre(image: Image, height: int, width: int) -> Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def decode(data: bytes, *, max_pixels: int, side: int | None = None) -> Image:
    """Decode the first frame of a PNG, JPEG, WebP, GIF or BMP file.

    Transparent parts become white, as a page shows them; sixteen-bit grey keeps its upper eight.

    Args:
        data: The encoded file.
        max_pixels: Refuse more, as the header tells it, before anything is decoded.
        side: The short side needed, in pixels; a JPEG may be decoded smaller, never below it.

    Raises:
        ImageFault: It is of another format, too large, damaged or cut short.
    """
    try:
        with _opened(data, max_pixels) as image:
            if side is not None:
                image.draft(None, (side, side))
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except _DAMAGE as failure:
        raise _damaged(failure) from None


def header_size(data: bytes, *, max_pixels: int) -> tuple[int, int]:
    """Return (width, height) as the file's header tells them, under the same limits as `decode`.

    Raises:
        ImageFault: It is of another format, too large, or its header is damaged.
    """
    try:
        with _opened(data, max_pixels) as image:
            return image.size
    except _DAMAGE as failure:
        raise _damaged(failure) from None


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of an encoded file, as hex."""
    return hashlib.sha256(data).hexdigest()


def load_items(items: Sequence[Item]) -> list[Image]:
    """Decode pool items again, in the order given, from wherever they lie.

    Large pictures come smaller, their short side at least `WORKING_SIDE` pixels.

    Raises:
        ArtifactFault: One is gone, or its bytes are not those that were indexed.
    """
    wanted: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    limits: dict[str, int] = {}
    for item in items:
        wanted[item.source][item.member].add(item.sha256)
        limits[item.sha256] = item.width * item.height
    found: dict[str, Image] = {}
    for source, members in wanted.items():
        try:
            for member, data in sources.reread(source, members):
                digest = content_hash(data)
                if digest in members[member]:
                    found[digest] = shrunk(decode(data, max_pixels=limits[digest], side=WORKING_SIDE))
        except ImageFault as fault:
            raise ArtifactFault(f"`{source}` cannot be read again: {fault.reason}", hint="space index") from None
    for item in items:
        if item.sha256 not in found:
            raise ArtifactFault(
                f"`{item.member}` of `{item.source}` is gone or was changed since it was indexed",
                hint="run `space index` again",
            )
    return [found[item.sha256] for item in items]


def readable_images(folder: Path) -> tuple[list[Image], list[str]]:
    """Read every picture of a folder, by name; its tar and parquet files are looked into.

    Returns:
        The pictures, and why each of the others cannot be used.

    Raises:
        UsageFault: The folder is missing, or holds no picture that can be read.
    """
    hint = "give a folder of PNG, JPEG, WebP, GIF or BMP files"
    if not folder.is_dir():
        raise UsageFault(f"`{folder}` is not a folder of images", hint=hint)
    images: list[Image] = []
    faults: list[str] = []
    for entry in sources.entries(str(folder)):
        try:
            images.append(shrunk(decode(entry.read(), max_pixels=MAX_PIXELS, side=WORKING_SIDE)))
        except ImageFault as fault:
            faults.append(f"`{entry.member}` of `{entry.source}` cannot be used: {fault.reason}")
    if not images:
        found = f"none of its {len(faults)} images can be read; {faults[0]}" if faults else "it holds no image"
        raise UsageFault(f"`{folder}` cannot be learnt from: {found}", hint=hint)
    return images, faults


def _opened(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    reader = next((reader for magic, reader in _READERS if data.startswith(magic)), None)
    if reader is None:
        raise ImageFault("not a PNG, JPEG, WebP, GIF or BMP file" if data else "the file is empty")
    if reader is JpegImageFile and has_endless_scans(data):
        raise ImageFault(f"a JPEG of more than {MAX_SCANS} scans")
    image = reader(BytesIO(data))
    width, height = image.size
    if width * height > max_pixels:
        raise ImageFault(f"{width} x {height} pixels are too many: at most {max_pixels} are decoded")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageFault(f"{width} x {height} pixels are a strip: at most {MAX_ASPECT} to 1 is decoded")
    return image


def _damaged(failure: Exception) -> ImageFault:
    lines = str(failure).splitlines()
    if isinstance(failure, Pillow.DecompressionBombError):  # a GIF's frame may be larger than its header says
        return ImageFault(f"too many pixels in a frame: {lines[0]}")
    return ImageFault(f"damaged: {lines[0] if lines else type(failure).__name__}")


def _rgb(image: Image) -> Image:
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Pillow.new("RGBA", layer.size, "white")
        page.alpha_composite(layer)
        image = page
    return image.convert("RGB")


def shrunk(image: Image) -> Image:
    """Return a large picture smaller by a whole factor, its short side at least `WORKING_SIDE` pixels."""
    factor = min(image.size) // WORKING_SIDE
    return image.reduce(factor) if factor > 1 else image
