"""Every attack of `space audit` on erasures by ours and by rivals, side by side, resumable.

python -m benchmarks.robustness
python -m benchmarks.robustness --subject bundled --subject produce=./zoo/produce
python -m benchmarks.robustness --table                              write the table of the rows that are there
python -m benchmarks.robustness --quick                              one concept, cheap attacks, kept in build/

Writes `docs/benchmarks/robustness.json` and `robustness.md`. One erasure and one audit with every attack is a line of
`robustness.rows.jsonl` and is not computed twice. Ours on the first concept of a subject runs as commands, which tells
what a whole audit takes; all else is computed in memory, with the same scores.
"""

import argparse
import sys

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.concepts import test_concepts
from benchmarks.league.bench import compute
from benchmarks.league.cells import BRIEF, Measures, key_of, named
from benchmarks.league.cells import compute as commanded
from benchmarks.league.entries import OURS, SMALL, Entry, entries
from benchmarks.league.running import Runner
from benchmarks.league.subjects import Bundled, Job, Subject, open_subjects
from benchmarks.league.tuning import choices, tuned_for
from benchmarks.robustness.audits import audit_of, of_todays_audit
from benchmarks.robustness.page import write
from benchmarks.tables import Row, read_rows, shard_of
from space_cli.core import registry
from space_cli.core.errors import SpaceError
from space_cli.core.recipe import Concept

OUT, QUICK = Path("docs/benchmarks"), Path("build/robustness/quick")
ROWS, TUNING = "robustness.rows.jsonl", "league.tuning.jsonl"
BESIDE = ("space-paper", "ga", "npo", "siu", "mmunlearner")
"""Who is attacked beside ours."""
FEWER = 4
"""Test concepts of a subject that the others are attacked on; ours is on all."""
CHEAP = ("jailbreak", "prefill", "quantize")
"""Attacks of a quick look: together a tenth of the time of all."""
QUICK_PICTURES = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing cells and write the table; 1 where a cell could not be computed."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(words)
    options.out = options.out or (QUICK if options.quick else OUT)
    if options.earlier and not options.earlier.is_file():
        parser.error(f"--earlier: {options.earlier} is no file")
    options.out.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    try:
        if not options.table:
            failures = _run(options)
        if options.table or shard_of(options.shard)[1] == 1:
            _write(options, words)
    except SpaceError as fault:
        hint = f"\nhint: {fault.hint}" if fault.hint else ""
        sys.stderr.write(f"error: {fault.message}{hint}\n")
        return fault.exit_code
    sys.stderr.write("".join(f"not computed: {failure}\n" for failure in failures))
    return 1 if failures else 0


def wanted(subject: Subject, playing: Sequence[Entry], *, concepts: int | None, seed: int) -> list[tuple[Entry, Job]]:
    """Return what is attacked: ours on all test concepts of a subject, the others on the first few.

    All entries of a concept stand together, so that an early stop leaves whole concepts.
    """
    jobs = [Job(subject, concept, seed) for concept in concepts_of(subject)[:concepts]]
    return [(entry, job) for row, job in enumerate(jobs) for entry in playing if entry.name == OURS or row < FEWER]


def concepts_of(subject: Subject) -> list[Concept]:
    """Return a subject's test concepts: of the bundled checkpoint all ten, of which the league takes six."""
    if subject.name == Bundled.name:
        return [Concept(name=c.name, phrase=c.phrase, kind=c.kind) for c in test_concepts()]
    return list(subject.tests)


def _run(options: argparse.Namespace) -> list[str]:
    asked = CHEAP if options.quick and not options.attacks else tuple(options.attacks or registry.names("attacks"))
    measures = Measures((), bands=False, attacks=asked)
    if options.quick:
        measures = replace(measures, metrics=BRIEF, limit=QUICK_PICTURES)
    had = {key_of(row): row["attacks"] for row in read_rows(options.out / ROWS)}

    def work(entry: Entry, job: Job, measures: Measures) -> Row:
        # What a cell had been given before is asked again: its figures are then all of one erasure.
        every = tuple(dict.fromkeys((*had.get(key_of(named(entry, job)), ()), *measures.attacks)))
        timed = entry.name == OURS and job.concept == concepts_of(job.subject)[0]
        made = (commanded if timed else compute)(entry, job, replace(measures, attacks=every))
        return made | {"attacks": list(every), "audit": audit_of(every)}

    def counts(row: Row) -> bool:
        return set(row["attacks"]) >= set(asked) and of_todays_audit(row)

    runner = Runner(options.out / ROWS, measures, frozenset(options.redo), work, counts)
    for subject in open_subjects(options.subject or [Bundled.name], options.data, options.pool):
        for seed in range(options.seeds):
            runner.run(_cells(options, subject, seed))
    return runner.failures


def _cells(options: argparse.Namespace, subject: Subject, seed: int) -> list[tuple[Entry, Job]]:
    found, known = choices(read_rows(options.out / TUNING)), entries()
    playing = [tuned_for(known[name], subject.name, found) for name in options.methods]
    if options.quick:
        playing = [replace(entry, select=SMALL) for entry in playing]
    number, shards = shard_of(options.shard)
    mine = {concept.name for concept in concepts_of(subject)[number::shards]}
    cells = wanted(subject, playing, concepts=1 if options.quick else options.concepts, seed=seed)
    return [(entry, job) for entry, job in cells if job.concept.name in mine]


def _write(options: argparse.Namespace, words: Sequence[str]) -> None:
    cells = read_rows(options.out / ROWS)
    earlier = read_rows(options.earlier) if options.earlier else []
    command = " ".join(("python -m benchmarks.robustness", *words))
    sys.stdout.write(write(options.out, cells, command=command, earlier=earlier))


def _parser() -> argparse.ArgumentParser:
    attacks, methods = registry.names("attacks"), (OURS, *BESIDE)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description="Attacks on every erasure")
    parser.add_argument("--subject", action="append", help="`bundled`, or NAME=FOLDER of the zoo; repeatable")
    parser.add_argument("--data", action="append", default=[], help="NAME=FOLDER: the subject's photographs, if moved")
    parser.add_argument("--pool", action="append", default=[], type=Path, help="Further photographs for every pool")
    parser.add_argument(
        "--methods", nargs="*", choices=methods, default=methods, metavar="NAME", help=", ".join(methods)
    )
    parser.add_argument("--attacks", nargs="*", choices=attacks, metavar="NAME", help=", ".join(attacks))
    parser.add_argument("--concepts", type=int, help="Test concepts of each subject; all if not given")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shard", default="0/1", help="I/N: run the missing rows of every N-th concept and stop")
    parser.add_argument("--redo", nargs="*", default=[], metavar="NAME", help="Compute anew, since the method changed")
    parser.add_argument("--table", action="store_true", help="Compute nothing, write the table of all rows there are")
    parser.add_argument("--earlier", type=Path, help="Rows of an earlier version, to compare the hardening attack with")
    parser.add_argument("--quick", action="store_true", help="One concept, small selections, cheap attacks")
    parser.add_argument("--out", type=Path, help=f"{OUT}; {QUICK} with --quick")
    return parser


if __name__ == "__main__":
    sys.exit(main())
