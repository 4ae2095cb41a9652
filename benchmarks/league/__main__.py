"""All rivals, the published description, the oracle and ours on the same concepts, resumable over days.

python -m benchmarks.league tune --subject produce=./zoo/produce     search rates and steps on dev concepts
python -m benchmarks.league --subject bundled --subject produce=./zoo/produce
python -m benchmarks.league costs --subject bundled                  seconds and memory of the commands, one by one
python -m benchmarks.league --table                                  write the table of the rows that are there
python -m benchmarks.league --quick                                  a look in ten minutes, kept in build/league/
"""

import argparse
import os
import subprocess
import sys

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.league.bench import compute
from benchmarks.league.cells import BRIEF, CACHE, QUICK, SOURCE_FREE, Measures
from benchmarks.league.cells import compute as commanded
from benchmarks.league.entries import OURS, RIVALS, SEARCHED, SMALL, Entry, Settings, entries
from benchmarks.league.page import current, write
from benchmarks.league.running import Runner, every
from benchmarks.league.scoring import best, completed, photographs
from benchmarks.league.subjects import DEVELOPMENTS, TESTS, Job, Subject, open_subjects
from benchmarks.league.tuning import around_best, choice, choices, open_settings, tuned_for
from benchmarks.tables import Row, read_rows, shard_of
from space_cli.core.errors import SpaceError

OUT = Path("docs/benchmarks")
QUICK_CONCEPTS, QUICK_PICTURES = 2, 6
DEV_CONCEPTS = DEVELOPMENTS
"""Dev concepts of a search, unless fewer are asked for."""
SEARCH_PICTURES = 6
"""Pictures of a concept that a search is judged on: it only ranks settings, and asking takes much of its time."""
BEST = 2
"""Rivals that get as many seeds as ours."""
ROWS, TUNING, COSTS = "league.rows.jsonl", "league.tuning.jsonl", "league.costs.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing cells and write the table; 1 where a cell could not be computed."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    options.words = words
    options.subject = options.subject or ["bundled"]
    options.out = options.out or (CACHE / "quick" if options.quick else OUT)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        if options.table:
            _write(options)
            return 0
        subjects = list(open_subjects(options.subject, options.data, options.pool))
        failures = {"run": _run, "tune": _tune, "costs": _costs}[options.task](options, subjects)
    except SpaceError as fault:
        hint = f"\nhint: {fault.hint}" if fault.hint else ""
        sys.stderr.write(f"error: {fault.message}{hint}\n")
        return fault.exit_code
    sys.stderr.write("".join(f"not computed: {failure}\n" for failure in failures))
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    names = list(entries())
    parser = argparse.ArgumentParser(prog="python -m benchmarks.league", description="Rivals and ours side by side")
    parser.add_argument("task", nargs="?", choices=("run", "tune", "costs"), default="run")
    parser.add_argument("--subject", action="append", help="`bundled`, or NAME=FOLDER of the zoo; repeatable")
    parser.add_argument("--data", action="append", default=[], help="NAME=FOLDER: the subject's photographs, if moved")
    parser.add_argument("--pool", action="append", default=[], type=Path, help="Further photographs for every pool")
    parser.add_argument("--methods", nargs="*", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--concepts", type=int, help=f"{TESTS} to test with, {DEV_CONCEPTS} to tune on, 1 to time")
    parser.add_argument("--seeds", type=int, default=2, help="Of ours and the two best rivals; of the rest it is one")
    parser.add_argument("--shard", default="0/1", help="I/N: run the missing rows of every N-th concept and stop")
    parser.add_argument("--redo", nargs="*", default=[], metavar="NAME", help="Compute anew, since the method changed")
    parser.add_argument("--table", action="store_true", help="Compute nothing, write the table of all rows there are")
    parser.add_argument("--quick", action="store_true", help="One subject, two concepts, one seed, default settings")
    parser.add_argument("--out", type=Path, help=f"{OUT}; {CACHE}/quick with --quick")
    return parser


def _run(options: argparse.Namespace, subjects: Sequence[Subject]) -> list[str]:
    failures = _quick(options, subjects) if options.quick else _whole(options, subjects)
    if shard_of(options.shard)[1] == 1:
        _write(options)
    return failures


def _whole(options: argparse.Namespace, subjects: Sequence[Subject]) -> list[str]:
    number, shards = shard_of(options.shard)
    concepts = options.concepts or TESTS
    found = _choices(options.out)
    playing = {subject.name: _playing(options, subject, found) for subject in subjects}
    runner = Runner(options.out / ROWS, Measures(), frozenset(options.redo), _row)
    for seed in range(options.seeds):
        again = set(entries())
        if seed:
            runner.reread()
            first = [cell for one in subjects for cell in every(playing[one.name], _jobs([one], concepts, 0))]
            if shards > 1 and len(runner.of(first)) < len(first):
                sys.stderr.write(f"seed {seed} waits until all shards have finished the first one: run them again\n")
                break
            again = _best_of(list(runner.rows.values()))
        for subject in subjects:
            chosen = [entry for entry in playing[subject.name] if entry.name in again]
            runner.run(every(chosen, _jobs([subject], concepts, seed)[number::shards]))
    return runner.failures


def _row(entry: Entry, job: Job, measures: Measures) -> Row:
    """Ask about ours what the table of signals needs, too."""
    own = (*measures.metrics, *SOURCE_FREE) if entry.method == OURS else measures.metrics
    return compute(entry, job, replace(measures, metrics=own))


def _best_of(rows: Sequence[Row]) -> set[str]:
    """Return what further seeds are for: ours and the rivals that were best with the first one, on photographs."""
    first = completed(current([row for row in rows if row["seed"] == 0]))
    return {OURS, *best(photographs(first) or first, OURS, RIVALS, BEST)}


def _quick(options: argparse.Namespace, subjects: Sequence[Subject]) -> list[str]:
    """Run a quick look, each concept in a process of its own with its share of the cores."""
    number, shards = shard_of(options.shard)
    jobs = _jobs(subjects[:1], options.concepts or QUICK_CONCEPTS, 0)
    if shards == 1 and len(jobs) > 1:
        threads = max(1, (os.cpu_count() or 1) // len(jobs))
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.league", *options.words, "--shard", f"{row}/{len(jobs)}"],
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            )
            for row in range(len(jobs))
        ]
        return [f"shard {row} of the quick look" for row, process in enumerate(started) if process.wait()]
    chosen = [replace(entry, select=SMALL) for name, entry in entries().items() if name in options.methods]
    runner = Runner(
        options.out / ROWS, Measures(QUICK, bands=False, limit=QUICK_PICTURES), frozenset(options.redo), compute
    )
    runner.run(every(chosen, jobs[number::shards]))
    return runner.failures


def _tune(options: argparse.Namespace, subjects: Sequence[Subject]) -> list[str]:
    measures = Measures(BRIEF, bands=False, limit=SEARCH_PICTURES, scores_only=True)
    runner = Runner(options.out / TUNING, measures, frozenset(options.redo), compute)
    number, shards = shard_of(options.shard)
    known = entries()
    pairs = [(subject, known[name]) for subject in subjects for name in SEARCHED if name in options.methods]
    for subject, entry in pairs[number::shards]:
        jobs = [Job(subject, concept, 0) for concept in subject.developments[: options.concepts or DEV_CONCEPTS]]
        while missing := _next(_searched(runner, jobs), entry.name, len(jobs)):
            before = len(runner.failures)
            runner.run(every([entry.with_settings(settings) for settings in missing], jobs))
            if len(runner.failures) > before:
                break  # what failed would be asked for again
        found = choice(_searched(runner, jobs), entry.name, wanted=len(jobs))
        print(f"{subject.name}: {entry.name}: {found and found['settings']}")
    return runner.failures


def _next(rows: Sequence[Row], name: str, wanted: int) -> Sequence[Settings]:
    return open_settings(rows, name, wanted=wanted) or around_best(rows, name, wanted=wanted)


def _costs(options: argparse.Namespace, subjects: Sequence[Subject]) -> list[str]:
    """Run the commands themselves, with the settings of the table, on dev concepts: they are timed, not judged."""
    found = _choices(options.out)
    runner = Runner(options.out / COSTS, Measures(BRIEF), frozenset(options.redo), commanded)
    for subject in subjects:
        jobs = [Job(subject, concept, 0) for concept in subject.developments[: options.concepts or 1]]
        runner.run(every(_playing(options, subject, found), jobs))
    _write(options)
    return runner.failures


def _playing(options: argparse.Namespace, subject: Subject, found: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    return [tuned_for(entry, subject.name, found) for name, entry in entries().items() if name in options.methods]


def _searched(runner: Runner, jobs: Sequence[Job]) -> list[Row]:
    cells = {(job.subject.digest, job.concept.name) for job in jobs}
    return [row for row in runner.counted() if (row["checkpoint"], row["concept"]) in cells]


def _choices(out: Path) -> dict[str, dict[str, Any]]:
    return choices(Runner(out / TUNING, Measures()).counted())


def _jobs(subjects: Sequence[Subject], concepts: int, seed: int) -> list[Job]:
    return [Job(subject, concept, seed) for subject in subjects for concept in subject.tests[:concepts]]


def _write(options: argparse.Namespace) -> None:
    rows, costs = current(read_rows(options.out / ROWS)), read_rows(options.out / COSTS)
    words = " ".join(("python -m benchmarks.league", *options.words))
    print(write(options.out, rows, _choices(options.out), command=words, costs=costs))


if __name__ == "__main__":
    sys.exit(main())
