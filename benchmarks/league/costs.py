"""What the commands took, one after the other on the same machine, beside the table's rows."""

import json

from collections.abc import Sequence

from benchmarks.league.entries import OURS
from benchmarks.league.scoring import cell_of, summary_of
from benchmarks.league.versions import MARK, is_ours, of_today
from benchmarks.tables import Row, Summary

REFERENCE = "siu"
"""Whose seconds ours are compared with."""
ERASE = "seconds of erase"
UNKNOWN = "not measured for these weights and settings"


def matching(costs: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the commands that erased what the table's rows erased, and as they did.

    Of ours, what an earlier version took is left out as soon as today's was timed anywhere.

    Args:
        costs: All that were timed; of two of one cell the later one counts.
        rows: Of the table.
    """
    newest = {(row["subject"], row["method"]): _place(row) for row in rows}
    there = set(newest.values())
    cells = {(_place(row), row["concept"], row["seed"]): row for row in costs if _place(row) in there}
    timed = list(cells.values())
    renewed = {row["method"] for row in timed if of_today(row)}
    return [row for row in timed if row["method"] not in renewed or of_today(row)]


def over_reference(costs: Sequence[Row], name: str) -> float | None:
    """Return an entry's mean seconds of `space erase` over those of the reference, on the cells that both have."""
    own, theirs = _beside(costs, name, REFERENCE)
    return own[ERASE]["mean"] / theirs[ERASE]["mean"] if own and theirs else None


def _beside(costs: Sequence[Row], name: str, other: str) -> tuple[Summary, Summary]:
    """Return the figures of two entries on the cells that both have; where there are none, the first one's alone."""
    timed = [row for row in costs if "erase" in row["seconds"]]
    own, others = ([row for row in timed if row["method"] == one] for one in (name, other))
    both = {cell_of(row) for row in own} & {cell_of(row) for row in others}
    found = summary_of([row for row in (*own, *others) if cell_of(row) in both] or own, (name, other))
    return found[name], found[other]


def table_of(costs: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Return the lines of the table of costs: each entry beside the reference, and this beside ours.

    A line is of the cells that the two have, so that its ratio is that of its seconds.

    Args:
        costs: What `matching` let through.
        names: The entries of the league's table.
    """
    there = {row["method"] for row in costs if "erase" in row["seconds"]}
    found = [name for name in names if name in there]
    lines = []
    if found:
        head = ("entry", "select, s", "erase, s", f"erase with {REFERENCE}, s", f"over {REFERENCE}", "peak, GB", "n")
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in found:
        own, theirs = _beside(costs, name, OURS if name == REFERENCE else REFERENCE)
        ratio = over_reference(costs, name)
        said = (
            _mean(own, "seconds of select", 1),
            _mean(own, ERASE, 1),
            _mean(own if name == REFERENCE else theirs, ERASE, 1),
            "" if ratio is None else f"{ratio:.2f}",
        )
        mark = f" {MARK}" if _earlier(costs, name) else ""
        lines.append(f"| {name}{mark} | {' | '.join(said)} | {_mean(own, 'peak memory, GB', 2)} | {own[ERASE]['n']} |")
    lacking = [name for name in names if name not in found]
    if lacking:
        lines += [*([""] if lines else []), f"{UNKNOWN.capitalize()}: {', '.join(lacking)}."]
    return lines


def goal(costs: Sequence[Row]) -> str:
    """Return the line of the goal that ours takes at most three times as long as the reference."""
    ratio = over_reference(costs, OURS)
    found, met = (UNKNOWN, "not known") if ratio is None else (f"{ratio:.2f}", "yes" if ratio <= 3 else "no")
    if ratio is not None and _earlier(costs, OURS):
        found, met = f"{found} {MARK}", "not known"
    return f"| {ERASE} over those of {REFERENCE} | {found} | at most 3 | {met} |"


def _earlier(costs: Sequence[Row], name: str) -> bool:
    """Tell whether what an entry's seconds were taken of is an earlier version of ours."""
    return any(row["method"] == name and not of_today(row) for row in costs)


def _mean(found: Summary, name: str, digits: int) -> str:
    return f"{found[name]['mean']:.{digits}f}" if name in found else ""


def _place(row: Row) -> tuple[str, ...]:
    """Return what must be alike: the weights, the entry and how it was set; of ours the defaults, too."""
    options = row.get("options") if is_ours(row) else None
    asked = (row["settings"], row["scope"], row["select"], options)
    return row["subject"], row["checkpoint"], row["method"], json.dumps(asked, sort_keys=True)
