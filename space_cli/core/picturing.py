"""What may be done to a picture without changing what it shows: each change as a function of images."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image as Images
from PIL import ImageFilter, ImageOps
from PIL.Image import Image

Change = Callable[[Image, Image], Image]
"""The picture and another one, of something else -> a picture of the first's size."""

KEPT = 0.7
"""Share of each side that a crop keeps."""
BLUR = 48
"""The blur's standard deviation is this part of the longer side: 7 pixels of 336."""
QUALITY = 12
"""Of JPEG, where 75 is usual; blocks are plain to see."""
TURN = 20  # degrees
SMALL = 0.45
"""Share of each side that the concept takes beside another thing."""


def changes() -> dict[str, Change]:
    """Return every change by its name."""
    return {
        "crop": lambda image, _: _cropped(image, (1 - KEPT) / 2, (1 - KEPT) / 2),
        "corner crop": lambda image, _: _cropped(image, 0.0, 1 - KEPT),
        "flip": lambda image, _: ImageOps.mirror(image),
        "turn": lambda image, _: image.rotate(TURN, resample=Images.Resampling.BILINEAR, fillcolor=_background(image)),
        "blur": lambda image, _: image.filter(ImageFilter.GaussianBlur(max(image.size) / BLUR)),
        "jpeg": lambda image, _: _compressed(image),
        "grey": lambda image, _: ImageOps.grayscale(image).convert("RGB"),
        "sketch": lambda image, _: _sketched(image),
        "collage": _beside,
        "company": _pasted,
    }


def _cropped(image: Image, left: float, top: float) -> Image:
    width, height = image.size
    box = (left * width, top * height, (left + KEPT) * width, (top + KEPT) * height)
    return image.resize(image.size, Images.Resampling.BILINEAR, box=box)


def _compressed(image: Image) -> Image:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    found = Images.open(stream)
    found.load()
    return found.convert("RGB")


def _sketched(image: Image) -> Image:
    """Return dark edges on white, as a pencil would leave them."""
    edges = ImageOps.grayscale(image).filter(ImageFilter.FIND_EDGES)
    # The filter leaves the outermost pixels as they are, which would draw a frame.
    inner = ImageOps.expand(ImageOps.crop(edges, 1), 1, 0) if min(edges.size) > 2 else edges
    return ImageOps.invert(ImageOps.autocontrast(inner)).convert("RGB")


def _beside(image: Image, other: Image) -> Image:
    """Return both pictures whole, side by side."""
    width, height = image.size
    canvas = Images.new("RGB", (width, height), _background(image))
    half = (max(1, width // 2), max(1, height // 2))
    canvas.paste(image.resize(half), (0, (height - half[1]) // 2))
    canvas.paste(other.resize(half), (width - half[0], (height - half[1]) // 2))
    return canvas


def _pasted(image: Image, other: Image) -> Image:
    """Return the other picture, the first one small in its lower right."""
    width, height = image.size
    canvas = other.resize(image.size).copy()
    small = image.resize((max(1, round(width * SMALL)), max(1, round(height * SMALL))))
    canvas.paste(small, (width - small.width, height - small.height))
    return canvas


def _background(image: Image) -> tuple[int, int, int]:
    found = image.getpixel((0, 0))
    assert isinstance(found, tuple), "images are decoded as RGB"
    return (int(found[0]), int(found[1]), int(found[2]))
