"""From rows to figures: the harmonic mean of forgetting and retaining, and ours against each rival."""

import re
import statistics

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.intervals import Share
from benchmarks.league.subjects import Bundled
from benchmarks.tables import Row, Stats, Summary, centre, figure, figures_of, summarise

HARMONIC = "harmonic mean"
FORGET = ("forget_accuracy", "forget_choice_accuracy")
RETAIN = ("retain_accuracy", "neighbour_accuracy")
SIGNALS = ("holdout_nll", "pushed_nll", "elicitation")
"""What an erasure or its audit knows without an image of the concept."""
STILL = re.compile(r"of \d+ answers that named it before, ([0-9.]+)% still do")
STILL_NAMED = "forget_accuracy, of answers that named it before"
Unit = tuple[str, str]
Cell = tuple[str, str, str, int]
"""Subject, weights, concept and seed: what one entry is compared with another on."""


def unit(row: Row) -> Unit:
    """Return what intervals draw anew: a concept of a subject."""
    return row["subject"], row["concept"]


def cell_of(row: Row) -> Cell:
    """Return the cell of a row."""
    return row["subject"], row["checkpoint"], row["concept"], row["seed"]


def photographs(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of photograph subjects; the drawings of the bundled checkpoint are told of apart."""
    return [row for row in rows if row["subject"] != Bundled.name]


def drawings(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the bundled checkpoint."""
    return [row for row in rows if row["subject"] == Bundled.name]


def completed(rows: Sequence[Row]) -> list[Row]:
    """Give each refused row the scores of no erasure.

    Every score and band stays at what any other entry's audit of the same cell found before erasing; where no entry has
    one, forgetting is at 1 and everything retained whole. So a refusal has nothing to be proud of, in no column.
    """
    known: dict[Cell, Row] = {}
    for row in rows:
        known.setdefault(cell_of(row), row)
        if row["scores"]:
            known[cell_of(row)] = row
    return [row if row["scores"] else row | _unchanged(known[cell_of(row)]) for row in rows]


def figures(row: Row) -> dict[str, float]:
    """Return every number of a completed row."""
    found = {name: value for name, value in figures_of(row).items() if not name.startswith("relative change of ")}
    if STILL.search(note := row["scores"].get(FORGET[0], {}).get("note", "")):
        found[STILL_NAMED] = Share(float(STILL.findall(note)[0]) / 100)
    elif row["verdict"].startswith("refused"):
        found[STILL_NAMED] = Share(1)
    for band, score in row.get("bands", {}).items():
        found[f"neighbours {band}"] = Share(score["after"])
        if score["before"]:
            found[f"neighbours {band}, relative"] = score["after"] / score["before"]
    found["refused"] = Share(row["verdict"].startswith("refused"))
    for name, parts in (("forgotten", FORGET), ("retained", RETAIN)):
        found[name] = Share(harmonic(list(_parts(row, parts).values())))
    found[HARMONIC] = Share(harmonic(list(_parts(row, (*FORGET, *RETAIN)).values())))
    return found


def harmonic(parts: Sequence[float]) -> float:
    """Return the harmonic mean; 0 where one part is 0."""
    return len(parts) / sum(1 / part for part in parts) if parts and min(parts) > 0 else 0.0


def summary_of(rows: Sequence[Row], methods: Iterable[str]) -> dict[str, Summary]:
    """Return method -> figure -> mean over subjects and concepts with an interval."""
    return {
        name: summarise([row for row in rows if row["method"] == name], figures=figures, unit=unit) for name in methods
    }


def paired(rows: Sequence[Row], ours: str, rivals: Iterable[str]) -> dict[str, Stats]:
    """Return, by rival, ours minus it on the harmonic mean, over cells that both have.

    Seeds are averaged within a concept, concepts are drawn anew for the interval.
    """
    values: dict[str, dict[Cell, float]] = defaultdict(dict)
    for row in rows:
        values[row["method"]][cell_of(row)] = figures(row)[HARMONIC]
    found = {}
    for rival in rivals:
        shared: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for cell, value in values[ours].items():
            if cell in values[rival]:
                shared[cell[:3]].append(value - values[rival][cell])
        if shared:
            found[rival] = _difference(list(shared.values()))
    return found


def shared(rows: Sequence[Row], names: Iterable[str]) -> set[Cell]:
    """Return the cells that every one of some entries has, of those that have any."""
    wanted = set(names)
    cells: dict[str, set[Cell]] = defaultdict(set)
    for row in rows:
        if row["method"] in wanted:
            cells[row["method"]].add(cell_of(row))
    return set.intersection(*cells.values()) if cells else set()


def best(rows: Sequence[Row], ours: str, rivals: Sequence[str], count: int) -> list[str]:
    """Return the rivals of the highest mean harmonic mean, the best first, on the cells that they and ours share."""
    cells = shared(rows, (ours, *rivals))
    common = [row for row in rows if cell_of(row) in cells]
    means = {name: figures_mean([row for row in common if row["method"] == name]) for name in rivals}
    ranked = [name for name, value in means.items() if value is not None]
    return sorted(ranked, key=lambda name: (-(means[name] or 0.0), name))[:count]


def figures_mean(rows: Sequence[Row]) -> float | None:
    """Return the mean over concepts of the harmonic mean, or None without rows."""
    return figure(HARMONIC, _by_unit(rows))["mean"] if rows else None


def _parts(row: Row, names: Sequence[str]) -> dict[str, float]:
    """Return the parts of the harmonic mean that the row has, each from 0 to 1."""
    found = {}
    for name in names:
        score: Mapping[str, float | None] = row["scores"].get(name, {})
        after, before = score.get("after"), score.get("before")
        if after is None:
            continue
        if name in FORGET:
            found[name] = 1 - after
        elif before:  # where nothing was right before, nothing could be lost
            found[name] = min(1.0, after / before)
    return found


def _unchanged(row: Row) -> Row:
    """Return scores and bands of a cell as they were before erasing, from the row of an entry that has them."""
    # What only ours is asked for is no column of another entry.
    before = {name: score.get("before") for name, score in row["scores"].items() if name not in SIGNALS}
    whole = dict.fromkeys((*FORGET, *RETAIN, "text_knowledge"), 1.0)
    told = whole | {name: value for name, value in before.items() if value is not None}
    bands = {name: band | {"after": band["before"]} for name, band in row.get("bands", {}).items()}
    return {
        "scores": {name: {"before": value, "after": value, "control": None} for name, value in told.items()},
        "bands": bands,
    }


def _by_unit(rows: Sequence[Row]) -> list[list[float]]:
    by_unit: dict[Unit, list[float]] = defaultdict(list)
    for row in rows:
        by_unit[unit(row)].append(figures(row)[HARMONIC])
    return list(by_unit.values())


def _difference(by_unit: Sequence[Sequence[float]]) -> Stats:
    means = [statistics.mean(values) for values in by_unit]
    return centre(means, share=False) | {"n": sum(map(len, by_unit)), "units": len(means)}
