"""Which stored rows are of a method as it is.

The key of a row holds the settings that differ from the defaults, and so says nothing about the defaults themselves:
they have changed since some rows were computed. Rows therefore store every option, and count as computed only where
these are today's. Of rivals' rows without options nothing is known, and they count.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from benchmarks.league.entries import OURS, Entry, entries
from benchmarks.tables import Row, commits_of, listed

Earlier = dict[str, dict[str, dict[str, Any]]]
MARK = "†"
"""Stands beside an entry some of whose rows are of earlier defaults."""


def options_of(entry: Entry) -> dict[str, Any]:
    """Return every option that an entry's method runs with, as JSON holds it."""
    # Late: it imports torch, and the benchmark's own size is the floor of what its processes report as theirs.
    from space_cli.core import registry

    options: dict[str, Any] = registry.load("methods", entry.method).Options(**entry.settings).model_dump(mode="json")
    return options


def is_ours(row: Row) -> bool:
    """Tell whether a row is of our method: ours, the oracle, or an ablation, whose name is no entry's."""
    entry = entries().get(row["method"])
    return entry is None or entry.method == OURS


def of_today(row: Row) -> bool:
    """Tell whether a stored row counts as computed: with today's options, or a rival's that stores none."""
    if "options" not in row and not is_ours(row):
        return True
    entry = entries().get(row["method"])
    try:
        today = options_of(Entry(row["method"], OURS if entry is None else entry.method, row["settings"]))
    except ValidationError:  # an option that the row was made with is gone
        return False
    return bool(row.get("options") == today)


def earlier_rows(rows: Sequence[Row], counts: Callable[[Row], bool] = of_today) -> Earlier:
    """Return entry -> subject -> `rows` that are not of today, `of` how many, and the `commits` they are of."""
    found: Earlier = {}
    for name, subject in dict.fromkeys((row["method"], row["subject"]) for row in rows):
        own = [row for row in rows if (row["method"], row["subject"]) == (name, subject)]
        if old := [row for row in own if not counts(row)]:
            found.setdefault(name, {})[subject] = {"rows": len(old), "of": len(own), "commits": commits_of(old)}
    return found


DEFAULTS = (
    f"{MARK} Of earlier defaults: the options that these rows were made with are not today's, or were not stored."
)


def footnote(earlier: Earlier, said: str = DEFAULTS) -> list[str]:
    """Return the lines that say which rows of a table are not of today, and in what; nothing where all are."""
    if not earlier:
        return []
    rows = [
        f"- {name} on {subject}: {found['rows']} of {found['of']} rows, computed at {listed(found['commits'])}"
        for name, subjects in earlier.items()
        for subject, found in subjects.items()
    ]
    return [said, "", *rows, ""]
