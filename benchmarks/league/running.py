"""Go through the cells that a store lacks; what is there is not computed twice."""

import sys

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.league.cells import CellFailure, Measures, compute, key_of, named
from benchmarks.league.entries import Entry
from benchmarks.league.subjects import Job
from benchmarks.league.versions import of_today
from benchmarks.tables import Row, append_row, read_rows

Compute = Callable[[Entry, Job, Measures], Row]


@dataclass
class Runner:
    """A file of rows and how to make the missing ones.

    A row counts only where it was made with today's options (`versions`).

    Args:
        store: JSONL, a row a line; of two rows of one cell the later one counts.
        measures: What each row measures.
        redo: Entries whose stored rows do not count, since the method itself has changed.
        work: How a row is computed.
        counts: Tells whether a stored row is what is asked for; another is computed anew.
    """

    store: Path
    measures: Measures
    redo: frozenset[str] = frozenset()
    work: Compute = compute
    counts: Callable[[Row], bool] = lambda _: True
    rows: dict[str, Row] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read what was computed before."""
        self.reread()
        self._again = {key for key, row in self.rows.items() if row["method"] in self.redo}

    def reread(self) -> None:
        """Read the store again: other processes may have added to it."""
        self.rows = {key_of(row): row for row in read_rows(self.store)}

    def run(self, wanted: Iterable[tuple[Entry, Job]]) -> list[Row]:
        """Compute what is missing, and return the rows of all cells that have one.

        A command that fails for another reason than a gate leaves no row; the next run tries it again.
        """
        asked = list(wanted)
        for entry, job in asked:
            key = key_of(named(entry, job))
            if self._has(key) and key not in self._again:
                continue
            label = f"{job.subject.name}: {entry.name} {dict(entry.settings)} on {job.concept.name}, seed {job.seed}"
            try:
                row = self.work(entry, job, self.measures)
            except CellFailure as failure:
                self.failures.append(f"{label}: {failure}")
                sys.stderr.write(f"{self.failures[-1]}\n")
                continue
            append_row(self.store, row)
            self.rows[key] = row
            self._again.discard(key)
            sys.stderr.write(f"{label}: {row['verdict']} {_shown(row)} {row['seconds']}\n")
        return self.of(asked)

    def of(self, wanted: Iterable[tuple[Entry, Job]]) -> list[Row]:
        """Return the rows of these cells that are there and count."""
        keys = [key_of(named(entry, job)) for entry, job in wanted]
        return [self.rows[key] for key in keys if self._has(key)]

    def counted(self) -> list[Row]:
        """Return all rows that count, of each cell the latest, without those that are to be computed anew."""
        return [row for key, row in self.rows.items() if self._has(key) and key not in self._again]

    def _has(self, key: str) -> bool:
        return key in self.rows and self.counts(self.rows[key]) and of_today(self.rows[key])


def every(entries: Sequence[Entry], jobs: Sequence[Job]) -> list[tuple[Entry, Job]]:
    """Return each entry with each job, all entries of a job together, so that an early stop leaves whole concepts."""
    return [(entry, job) for job in jobs for entry in entries]


def _shown(row: Row) -> dict[str, float]:
    names = ("forget_accuracy", "forget_choice_accuracy", "retain_accuracy", "neighbour_accuracy")
    return {name: row["scores"][name]["after"] for name in names if name in row["scores"]}
