"""Small SVG drawings of a report, each with its numbers in words for a reader who does not see it."""

import math

from collections.abc import Sequence

from space_cli.core.records import ScoreRecord
from space_cli.reports._page import escaped

WIDTH, HEIGHT = 260, 30
EDGE = 8  # room for half a marker
PLOT_LEFT, PLOT_RIGHT, PLOT_TOP, PLOT_FOOT = 62, 276, 8, 96  # of a curve's frame
POINTS = 400  # of a curve; more than its pixels adds bytes only

LEGEND = (
    '<p class="legend"><span><svg width="26" height="12" aria-hidden="true"><rect class="bar" y="1" '
    'width="18" '
    'height="10"/><circle class="dot" cx="18" cy="6" r="3"/></svg> after</span>'
    '<span><svg width="28" height="12" aria-hidden="true"><path class="whisker" d="M2 2v8M2 6h24M26 '
    '2v8"/></svg> '
    "95 % interval of after</span>"
    '<span><svg width="14" height="14" aria-hidden="true"><path class="before" d="M7 1l6 6l-6 '
    '6l-6-6z"/></svg> '
    "before</span>"
    '<span><svg width="10" height="14" aria-hidden="true"><path class="control" d="M5 0v14"/></svg> '
    "control concepts, after</span></p>"
)


def full_scale(score: ScoreRecord) -> float:
    """Return the value at which a score's bar ends: 1 for a share, else a tenth above its largest figure."""
    if score.unit == "share":
        return 1.0
    figures = [value for value in (score.before, score.after, score.high, score.control) if value is not None]
    return 1.1 * max(figures, default=0.0) or 1.0


def score_bar(score: ScoreRecord, label: str) -> str:
    """Draw a score: bar and dot for after, whisker for its interval, diamond for before, dashes: control."""
    after, low, high = score.after, score.low, score.high
    if after is None or low is None or high is None:
        return '<span class="soft">not measured</span>'
    top = full_scale(score)

    def place(value: float) -> str:
        return f"{EDGE + (WIDTH - 2 * EDGE) * min(max(value / top, 0.0), 1.0):.1f}"

    middle = HEIGHT // 2
    parts = [
        f'<rect class="track" x="{EDGE}" y="{middle - 7}" width="{WIDTH - 2 * EDGE}" height="14"/>',
        f'<rect class="bar" x="{EDGE}" y="{middle - 7}" width="{float(place(after)) - EDGE:.1f}" height="14"/>',
        f'<path class="whisker" d="M{place(low)} {middle - 5}v10M{place(low)} {middle}H{place(high)}'
        f'M{place(high)} {middle - 5}v10"/>',
    ]
    if score.control is not None:
        parts.append(f'<path class="control" d="M{place(score.control)} {middle - 12}v24"/>')
    if score.before is not None:
        parts.append(f'<path class="before" d="M{place(score.before)} {middle - 6}l6 6l-6 6l-6-6z"/>')
    # Over the diamond, so that equal figures show as a dot in a diamond.
    parts.append(f'<circle class="dot" cx="{place(after)}" cy="{middle}" r="3.2"/>')
    words = f"{label}: after {after:.3g}, interval {low:.3g} to {high:.3g}, before {_said(score.before)}"
    return _svg(WIDTH, HEIGHT, words, "".join(parts))


def curve(
    steps: Sequence[float], values: Sequence[float], label: str, *, span: tuple[float, float] | None = None
) -> str:
    """Draw one figure over its steps, with its last value, from its smallest to its largest unless `span` says so."""
    pairs = [pair for pair in zip(steps, values, strict=True) if all(math.isfinite(part) for part in pair)]
    if not pairs:
        return '<p class="soft">no finite value</p>'
    # Strided from the end, so that the last value is always drawn.
    pairs = pairs[:: -max(1, math.ceil(len(pairs) / POINTS))][::-1]
    first, last = pairs[0][0], pairs[-1][0]
    low, high = span or (min(value for _, value in pairs), max(value for _, value in pairs))
    across, down = (
        (PLOT_RIGHT - PLOT_LEFT) / ((last - first) or 1.0),
        (PLOT_FOOT - PLOT_TOP) / ((high - low) or 1.0),
    )
    points = [
        f"{PLOT_LEFT + across * (step - first):.1f},{PLOT_FOOT - down * (value - low):.1f}" for step, value in pairs
    ]
    end_x, end_y = points[-1].split(",")
    parts = (
        f'<path class="grid" d="M{PLOT_LEFT} {PLOT_TOP}H{PLOT_RIGHT}M{PLOT_LEFT} {PLOT_FOOT}H{PLOT_RIGHT}"/>'
        f'<polyline class="curve" points="{" ".join(points)}"/>'
        f'<circle class="dot" cx="{end_x}" cy="{end_y}" r="2.6"/>'
        + _axis_text(PLOT_LEFT - 5, PLOT_TOP + 4, f"{high:.3g}", end=True)
        + _axis_text(PLOT_LEFT - 5, PLOT_FOOT + 3, f"{low:.3g}", end=True)
        + _axis_text(PLOT_LEFT, PLOT_FOOT + 16, f"step {first:g}")
        + _axis_text(PLOT_RIGHT, PLOT_FOOT + 16, f"{last:g}", end=True)
    )
    words = f"{label} from {pairs[0][1]:.3g} at step {first:g} to {pairs[-1][1]:.3g} at step {last:g}"
    return _svg(PLOT_RIGHT + 8, PLOT_FOOT + 20, words, parts)


def _axis_text(x: int, y: int, text: str, *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text class="axis" x="{x}" y="{y}"{anchor}>{text}</text>'


def magnitude(value: float, top: float) -> str:
    """Draw one number of a column as a bar."""
    length = 90 * min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
    return (
        '<svg width="92" height="12" aria-hidden="true"><rect class="track" x="1" y="1" width="90" '
        'height="10"/>'
        f'<rect class="bar" x="1" y="1" width="{length:.1f}" height="10"/></svg>'
    )


def _svg(width: int, height: int, words: str, parts: str) -> str:
    return (
        f'<svg role="img" aria-label="{escaped(words)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{parts}</svg>'
    )


def _said(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
