"""Forgetting against retaining, drawn with Pillow; each entry has a letter and a shape, so that no colour is needed."""

import math

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.tables import Summary

WIDTH, HEIGHT = 1130, 860
LEGEND = 850  # where it begins, pixels
MARK = 9  # half of a marker's width, pixels
INK, GRID, SOFT = (20, 20, 25), (215, 215, 220), (150, 150, 160)
HIGHLIGHT = (0, 90, 160)
LEVELS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98)
"""Harmonic means that a dotted line joins."""
ASIDE = tuple(
    (reach * math.cos(turn * math.pi / 4), reach * math.sin(turn * math.pi / 4))
    for reach in (19, 30, 42)
    for turn in (-1, -3, 1, 3, 0, 4, -2, 2)
)
"""Where a letter may stand beside its marker, the best first, pixels."""
APART = 15
"""Between a letter and what else is drawn, at least, pixels."""
POLYGONS: tuple[Sequence[tuple[float, float]], ...] = (
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
    ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    ((0, 1.2), (1.1, -0.9), (-1.1, -0.9)),
    ((0, -1.3), (1.2, -0.4), (0.8, 1.1), (-0.8, 1.1), (-1.2, -0.4)),
)
"""Shapes of the entries after the circle, in turn, in units of `MARK`."""


@dataclass(frozen=True)
class Frame:
    """A square plot of the shares from `low` to 1."""

    left: int
    top: int
    side: int
    low: float
    ticks: int

    def place(self, retained: float, forgotten: float) -> tuple[float, float]:
        """Return the pixel of a point."""
        scale = self.side / (1 - self.low)
        return self.left + scale * (retained - self.low), self.top + scale * (1 - forgotten)

    def holds(self, retained: float, forgotten: float) -> bool:
        """Tell whether a point lies in it."""
        return self.low <= retained <= 1 and self.low <= forgotten <= 1


WHOLE = Frame(90, 50, 720, 0.0, 10)
CORNER = Frame(880, 560, 210, 0.9, 5)
"""The upper right corner once more, enlarged: good entries meet there."""


def draw(summary: Mapping[str, Summary], highlighted: str, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        summary: Method -> figure -> mean and interval; `forgotten` and `retained` are drawn.
        highlighted: The entry that is filled.
        path: The file.
    """
    board = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(board)
    shown = {name: found for name, found in summary.items() if {"forgotten", "retained"} <= set(found)}
    for frame in (WHOLE, CORNER):
        _axes(pen, frame)
        _points(pen, frame, shown, highlighted)
    pen.text((LEGEND, WHOLE.top), "entry and harmonic mean", INK, _font(15))
    for number, (name, found) in enumerate(shown.items()):
        row = WHOLE.top + 40 + 32 * number
        _marker(pen, (LEGEND + 12, row), number, filled=name == highlighted)
        mean = found.get("harmonic mean", {}).get("mean", 0.0)
        pen.text((LEGEND + 34, row - 9), f"{_letter(number)}  {name}  {mean:.3f}", INK, _font(15))
    pen.text((WHOLE.left, WHOLE.top - 34), "forgotten (1 = never named nor chosen)", INK, _font(16))
    pen.text((450, 806), "retained (1 = as before)", INK, _font(16), anchor="ma")
    note = "Dotted: equal harmonic mean. Bars: 95 % over concepts. Filled: ours. Small: the corner above 0.9, enlarged."
    pen.text((450, 832), note, INK, _font(13), anchor="ma")
    board.save(path)


def _points(pen: ImageDraw.ImageDraw, frame: Frame, shown: Mapping[str, Summary], highlighted: str) -> None:
    places: dict[int, tuple[float, float]] = {}
    # Ours is drawn last, so that nothing lies on it.
    for number, (name, found) in sorted(enumerate(shown.items()), key=lambda one: one[1][0] == highlighted):
        x, y = found["retained"], found["forgotten"]
        if not frame.holds(x["mean"], y["mean"]):
            continue
        across, down = ((one.get("low", one["mean"]), one.get("high", one["mean"])) for one in (x, y))
        for first, last in (
            ((across[0], y["mean"]), (across[1], y["mean"])),
            ((x["mean"], down[0]), (x["mean"], down[1])),
        ):
            ends = [frame.place(*(max(frame.low, value) for value in end)) for end in (first, last)]
            pen.line(ends, SOFT, width=2)
        places[number] = frame.place(x["mean"], y["mean"])
        _marker(pen, places[number], number, filled=name == highlighted)
    taken = list(places.values())
    for number, place in sorted(places.items()):
        taken.append(_beside(place, taken))
        pen.text(taken[-1], _letter(number), INK, _font(14), anchor="mm")


def _beside(place: tuple[float, float], taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the first place beside a marker that is far from everything else, or of all the one that is farthest."""
    free = [(place[0] + across, place[1] + down) for across, down in ASIDE]
    room = {one: min(math.dist(one, other) for other in taken) for one in free}
    return next((one for one in free if room[one] >= APART), max(free, key=lambda one: room[one]))


def _axes(pen: ImageDraw.ImageDraw, frame: Frame) -> None:
    for tick in range(frame.ticks + 1):
        value = frame.low + (1 - frame.low) * tick / frame.ticks
        x, y = frame.place(value, value)
        pen.line([(x, frame.top), (x, frame.top + frame.side)], GRID)
        pen.line([(frame.left, y), (frame.left + frame.side, y)], GRID)
        pen.text((x, frame.top + frame.side + 8), f"{value:.3g}", INK, _font(12), anchor="ma")
        pen.text((frame.left - 6, y), f"{value:.3g}", INK, _font(12), anchor="rm")
    for level in LEVELS:
        # With t = forgotten / retained, these two have the harmonic mean `level`.
        ratios = [math.exp(step / 40) for step in range(-160, 161)]
        for point in ((level / 2 * (1 + 1 / t), level / 2 * (1 + t)) for t in ratios):
            if frame.holds(*point):
                pen.ellipse([coordinate + by for by in (-1, 1) for coordinate in frame.place(*point)], SOFT)
    pen.rectangle([frame.left, frame.top, frame.left + frame.side, frame.top + frame.side], outline=INK)


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _marker(pen: ImageDraw.ImageDraw, place: tuple[float, float], number: int, *, filled: bool) -> None:
    x, y = place
    fill = HIGHLIGHT if filled else "white"
    if number == 0:
        pen.ellipse([x - MARK, y - MARK, x + MARK, y + MARK], fill, INK, width=2)
        return
    corners = [(x + MARK * dx, y + MARK * dy) for dx, dy in POLYGONS[(number - 1) % len(POLYGONS)]]
    pen.polygon(corners, fill, INK, width=2)
    if number > len(POLYGONS):
        # The second round of shapes carries a dot.
        pen.ellipse([x - 2, y - 2, x + 2, y + 2], INK)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
