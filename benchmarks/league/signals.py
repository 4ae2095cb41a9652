"""How what an erasure or its audit knows without an image of the concept goes with what is really left of it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.league.scoring import FORGET, SIGNALS, unit
from benchmarks.tables import Row

DISTINCT = 3
"""Values of the true share, at least: with two, a coefficient tells of one or two erasures and not of the signal."""
NAMED = 0.005
"""A share of answers above it leaves the concept named."""
AT_LEAST = "{}, leaving one out"
HEAD = (
    "signal", "Pearson", "leaving one out, at least", "Spearman", "leaving one out, at least", "n", "named", "of",
)  # fmt: skip


def correlations(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return how each source-free signal goes with the true share of answers that still name the concept.

    Pearson's r and Spearman's ρ over erasures that went through; a signal without spread has neither, and nothing goes
    with shares that are all the same but for one or two. With each stands what is left of it without the row that it
    rests on most, if anything can be told without that row; and `named`, how many of the `n` rows leave something
    named, on how many `named_concepts`.
    """
    found = {}
    for signal in SIGNALS:
        told = [(row, value) for row in rows if (value := _signal(row, signal)) is not None]
        x = np.array([value for _, value in told], dtype=float)
        y = np.array([row["scores"][FORGET[0]]["after"] for row, _ in told], dtype=float)
        if _tell(x, y):
            named = [unit(row) for (row, _), left in zip(told, y, strict=True) if left > NAMED]
            counts = {"n": len(told), "named": len(named), "named_concepts": len(set(named))}
            found[signal] = counts | _coefficient("pearson", _pearson, x, y) | _coefficient("spearman", _spearman, x, y)
    return found


def signal_table(signals: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of a table of correlations."""
    if not signals:
        return ["Too few erasures, or all of them left the same share: there is nothing that a signal could go with."]
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    keys = [key for how in ("pearson", "spearman") for key in (how, AT_LEAST.format(how))]
    for name, s in signals.items():
        told = [f"{s[key]:+.3f}" if key in s else "-" for key in keys]
        counts = f"{s['n']:.0f} | {s['named']:.0f} | {s['named_concepts']:.0f}"
        lines.append(f"| {name} | {' | '.join(told)} | {counts} |")
    return [
        *lines, "",
        "At least: of the coefficients without any one row, the one that is nearest to 0 or farthest beyond; none "
        "where too few shares differ without it. `named` counts the rows that leave the concept named in more than "
        f"{NAMED:.1%} of answers, `of` their concepts.",
    ]  # fmt: skip


def _tell(x: np.ndarray, y: np.ndarray) -> bool:
    """Tell whether a signal's values can go with shares at all."""
    return len(set(x)) > 1 and len(set(y)) >= DISTINCT


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    return _pearson(_ranks(x), _ranks(y))


def _coefficient(
    name: str, how: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray, y: np.ndarray
) -> dict[str, float]:
    """Return a coefficient and, of those without any one row, the one that is least on its side of 0 or beyond."""
    whole = how(x, y)
    found = {name: whole}
    rest = [np.arange(len(x)) != row for row in range(len(x))]
    if all(_tell(x[kept], y[kept]) for kept in rest):
        found[AT_LEAST.format(name)] = min((how(x[kept], y[kept]) for kept in rest), key=lambda r: r * whole)
    return {key: round(value, 4) for key, value in found.items()}


def _signal(row: Row, name: str) -> float | None:
    if row["verdict"].startswith("refused") or row["scores"].get(FORGET[0], {}).get("after") is None:
        return None
    if name in row["signals"]:
        return float(row["signals"][name])
    score = row["scores"].get(name)
    return None if score is None else score["after"]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return shared
