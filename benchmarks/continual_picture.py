"""Curves over requests, drawn with Pillow; each has a mark of its own, so that no colour is needed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 980, 560
LEFT, TOP, RIGHT, BOTTOM = 70, 40, 960, 440
INK, GRID = (20, 20, 25), (215, 215, 220)
MARK = 5  # half of a mark's width, pixels
Pen = ImageDraw.ImageDraw
CURVES: dict[str, tuple[str, tuple[int, int, int]]] = {
    "forget": ("forget: the concept of the request is not named", (0, 90, 160)),
    "history": ("history: the earlier ones are not named", (0, 120, 60)),
    "rebound": ("rebound: earlier ones that came back", (180, 40, 30)),
    "retained": ("retain accuracy, relative to before", (20, 20, 25)),
    "used": ("free directions used", (150, 110, 0)),
}


def draw(curves: dict[str, Any], path: Path) -> None:
    """Write the picture as PNG.

    Args:
        curves: As `benchmarks.continual.curves` returns them.
        path: The file.
    """
    points = curves["points"]
    board = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(board)
    _axes(pen, [point["request"] for point in points])
    for number, (name, (label, colour)) in enumerate(CURVES.items()):
        places = [place(row, len(points), point[name]) for row, point in enumerate(points) if point[name] is not None]
        if len(places) > 1:
            pen.line(places, colour, width=2)
        for spot in places:
            MARKS[number](pen, spot, colour)
        left, top = LEFT + 440 * (number % 2), BOTTOM + 48 + 22 * (number // 2)
        MARKS[number](pen, (left, top), colour)
        pen.text((left + 14, top), label, INK, _font(14), anchor="lm")
    board.save(path)


def place(row: int, rows: int, share: float) -> tuple[float, float]:
    """Return the pixel of a share in [0, 1] at a request; what lies beyond is drawn at the edge."""
    across = LEFT + (RIGHT - LEFT) * (row + 0.5) / rows
    return across, BOTTOM - (BOTTOM - TOP) * min(1.0, max(0.0, share))


def _axes(pen: Pen, requests: Sequence[int]) -> None:
    for tick in range(11):
        y = BOTTOM - (BOTTOM - TOP) * tick / 10
        pen.line([(LEFT, y), (RIGHT, y)], GRID)
        pen.text((LEFT - 8, y), f"{10 * tick} %", INK, _font(12), anchor="rm")
    for row, number in enumerate(requests):
        pen.text((place(row, len(requests), 0)[0], BOTTOM + 8), str(number), INK, _font(12), anchor="ma")
    pen.text(((LEFT + RIGHT) / 2, BOTTOM + 24), "request", INK, _font(13), anchor="ma")


def _disc(pen: Pen, spot: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = spot
    pen.ellipse([x - MARK, y - MARK, x + MARK, y + MARK], colour)


def _square(pen: Pen, spot: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = spot
    pen.rectangle([x - MARK, y - MARK, x + MARK, y + MARK], "white", colour, width=2)


def _triangle(pen: Pen, spot: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = spot
    pen.polygon([(x, y - MARK), (x + MARK, y + MARK), (x - MARK, y + MARK)], colour)


def _diamond(pen: Pen, spot: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = spot
    pen.polygon([(x, y - MARK), (x + MARK, y), (x, y + MARK), (x - MARK, y)], "white", colour, width=2)


def _cross(pen: Pen, spot: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = spot
    pen.line([(x - MARK, y - MARK), (x + MARK, y + MARK)], colour, width=2)
    pen.line([(x - MARK, y + MARK), (x + MARK, y - MARK)], colour, width=2)


MARKS: tuple[Callable[[Pen, tuple[float, float], tuple[int, int, int]], None], ...] = (
    _disc, _square, _triangle, _diamond, _cross,
)  # fmt: skip


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
