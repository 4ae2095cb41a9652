"""What each part of `dcsi` is worth: one setting changed at a time, and anchors by projection, on dev concepts.

    python -m benchmarks.ablations --subject produce=./zoo/produce

Writes `docs/benchmarks/ablations.md`; rows are kept in `ablations.rows.jsonl` and not computed twice.
"""

import argparse
import sys

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.league.bench import OVER, compute
from benchmarks.league.cells import SOURCE_FREE, WHOLE, Measures
from benchmarks.league.entries import OURS, Entry, Settings
from benchmarks.league.page import current, overview
from benchmarks.league.running import Runner, every
from benchmarks.league.scoring import HARMONIC, completed, paired, summary_of, unit
from benchmarks.league.signals import correlations, signal_table
from benchmarks.league.subjects import DEVELOPMENTS, Job, open_subjects
from benchmarks.league.versions import earlier_rows, footnote
from benchmarks.tables import Row, Summary, commit, machine, made, read_rows, shard_of, spread, with_spread
from space_cli.core.errors import SpaceError, UsageFault

OUT = Path("docs/benchmarks")
LAMBDAS = (
    "lambda_task", "lambda_name", "lambda_begin", "lambda_stutter", "lambda_deny", "lambda_relearn", "lambda_attribute",
    "lambda_anchor", "lambda_diversity", "lambda_retain", "lambda_affirm", "lambda_rehearsed", "lambda_word",
    "lambda_leak", "lambda_size",
)  # fmt: skip
LEAKS = (1e-3, 7e-3, 3e-2, 1e-1)
"""ρ beside the default."""
SIZES = (1, 4, 16, 64)
"""Anchors, |P|."""
SCOPES = ("connector", "blocks", "vision", "all")
"""Beside the default, `mlp`; `blocks` is that without the connector, `vision` the tower in place of the decoder."""
RANKINGS = {"anchors drawn at random": "random", "anchors by similarity alone, without re-rank": "similarity"}
"""Beside the default, by how active the concept is in them; hardened as by default."""
REHARDENED, PARAMETRISED = "hardened + re-hardened", "parametrised"
"""Where ours stands in the cross."""
PROJECTIONS = {
    "none": "none", "gradient before Adam": "gradient", "update after Adam": "update", PARAMETRISED: None,
}  # fmt: skip
"""Columns of the cross: the option, if it is not the default."""
PLAIN: Mapping[str, object] = {"harden_steps": 0, "fresh_steps": 0, "least": 60}
"""Proxies as they are. Their held-out ones are silent from the start and cannot tell when to stop, so all steps run."""
ANCHORS: Mapping[str, tuple[Mapping[str, object], str | None]] = {
    "random": (PLAIN, "random"),
    "TPAS": (PLAIN, "similarity"),
    "TPAS + re-rank": (PLAIN, None),
    "hardened": ({"refresh": 0}, None),
    REHARDENED: ({}, None),
    "oracle": ({"oracle": True}, None),
}
"""Rows of the cross: options, and `--ranking` of the selection. Each adds to the one before; the oracle sees images."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing cells and write the table; 1 where a cell could not be computed."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    known = options_of("dcsi")
    for lacking in missing(known):
        sys.stderr.write(f"not possible yet: {lacking}\n")
    failures: list[str] = []
    if not options.table:
        try:
            failures = _run(options, known)
        except SpaceError as fault:
            sys.stderr.write(f"error: {fault.message}\n" + (f"hint: {fault.hint}\n" if fault.hint else ""))
            return fault.exit_code
    number_of_shards = shard_of(options.shard)[1]
    if number_of_shards == 1:
        rows = current(read_rows(options.out / "ablations.rows.jsonl"))
        text = "\n".join(page(rows, missing(known))) + "\n"
        (options.out / "ablations.md").write_text(text, encoding="utf-8")
        print(text)
    sys.stderr.write("".join(f"not computed: {failure}\n" for failure in failures))
    return 1 if failures else 0


def variants(known: set[str]) -> list[Entry]:
    """Return ours, ours with one thing changed, and the cross of anchors and projections, as far as there are options.

    No two of them are the same erasure: ours stands for the cross's cell of the defaults.

    Args:
        known: Names of its options.
    """
    changed: list[tuple[str, str, object]] = [
        *((f"{name} = 0", name, 0.0) for name in LAMBDAS),
        *((f"leak = {leak:g}", "leak", leak) for leak in LEAKS),
        ("hidden states not pushed", "depths", 0),
        ("pushes that share nothing", "share", 0.0),
        ("no adversary that relearns the name", "relearn_steps", 0),
        ("subspace never widened", "widenings", 0),
        ("retained images without noise", "jitter", 0.0),
        ("what drifted not rehearsed", "rehearsals", 0),
    ]
    found = [_entry(OURS)]
    for name, option, value in changed:
        if option in known:
            found.append(_entry(name, {option: value}))
    found += [
        replace(_entry(f"{size} anchors"), select=("--anchors", str(size), "--min-anchors", "1")) for size in SIZES
    ]
    found += [replace(_entry(name), select=("--ranking", ranking)) for name, ranking in RANKINGS.items()]
    found += [replace(_entry(f"scope {scope}"), scope=scope) for scope in SCOPES]
    return [*found, *(entry for entry in cross() if set(entry.settings) <= known)]


def cross() -> list[Entry]:
    """Return each way to anchors with each projection, but for the cell that is ours."""
    found = []
    for anchors, (options, ranking) in ANCHORS.items():
        select = ("--ranking", ranking) if ranking else ()
        for projection, value in PROJECTIONS.items():
            settings = dict(options) | ({"projection": value} if value else {})
            name = crossed(anchors, projection)
            if name != OURS:
                found.append(replace(_entry(name, settings), images=anchors == "oracle", select=select))
    return found


def _entry(name: str, settings: Settings | None = None) -> Entry:
    """Return an entry that trains within the budgets, and is measured where one breaks all the same."""
    return Entry(name, OURS, settings or {}, limited=True, gated=False)


def crossed(anchors: str, projection: str) -> str:
    """Return the entry of a cell of the cross."""
    ours = (anchors, projection) == (REHARDENED, PARAMETRISED)
    return OURS if ours else f"anchors: {anchors}, projection: {projection}"


def wanted(entries: Sequence[Entry], patterns: Sequence[str]) -> list[Entry]:
    """Return ours, always, and the variants of which a pattern matches the name; all of them without a pattern.

    Raises:
        UsageFault: A pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatch(entry.name, pattern) for entry in entries):
            raise UsageFault(f"no variant is called `{pattern}`", hint=f"one of: {', '.join(e.name for e in entries)}")
    if not patterns:
        return list(entries)
    return [entry for entry in entries if entry.name == OURS or any(fnmatch(entry.name, one) for one in patterns)]


def missing(known: set[str]) -> list[str]:
    """Return the wanted ablations whose option is gone."""
    parts = (
        "harden_steps", "fresh_steps", "refresh", "depths", "share", "relearn_steps", "widenings", "jitter",
        "rehearsals", "projection", "oracle",
    )  # fmt: skip
    ours = (*LAMBDAS, "leak", *parts)
    return [f"{option} (the method has no such option)" for option in ours if option not in known]


def options_of(method: str) -> set[str]:
    """Return the names of a method's options."""
    # Late: it imports torch, and the benchmark's own size is the floor of what its processes report as theirs.
    from space_cli.core import registry

    return set(registry.load("methods", method).Options.model_fields)


def page(rows: Sequence[Row], lacking: Sequence[str]) -> list[str]:
    """Return the lines of `ablations.md`.

    Args:
        rows: Of the ablations.
        lacking: What could not be run.
    """
    whole = completed(rows)
    summary = summary_of(whole, dict.fromkeys(row["method"] for row in rows))
    names = list(dict.fromkeys(row["method"] for row in rows))
    how = {"command": "python -m benchmarks.ablations", "commit": commit(), "machine": machine()}
    concepts = ", ".join(f"{concept} ({subject})" for subject, concept in sorted({unit(row) for row in rows}))
    lines = [
        "# Ablations",
        "",
        f"{made(how)}.",
        "",
        f"Ours with one thing changed, and anchors by projection, on dev concepts: {concepts or 'none yet'}. Where a "
        "retain budget broke, so that `space erase` would have written nothing, the scores are those of what it would "
        "not write. Another refusal counts as no erasure. Proxies that are not hardened train all 60 steps: on them "
        "the name is silent from the start, and the stop rule would end at once. [How it is measured](method.md).",
        "",
        *overview(summary, whole),
        "",
        *_over_budget(rows),
        *footnote(earlier_rows(rows)),
        "## Anchors by projection, harmonic mean",
        "",
        *cross_table(summary),
        "",
        "## Ours minus each, harmonic mean",
        "",
        "| changed | mean | 95 % | n |",
        "|---|---|---|---|",
    ]
    found = paired(whole, OURS, [name for name in names if name != OURS])
    lines += [f"| {n} | {p['mean']:+.4f} | {spread(p, '+.4f') or '-'} | {p['n']} |" for n, p in found.items()]
    # Real images as anchors are no source-free erasure: their signals mean something else.
    free = [row for row in rows if row["settings"].get("oracle") is not True]
    lines += ["", "## Source-free signals against the true FA_gen", "", *signal_table(correlations(free))]
    if lacking:
        lines += ["", "## Not possible yet", "", *(f"- {one}" for one in lacking)]
    return lines


def _over_budget(rows: Sequence[Row]) -> list[str]:
    """Return the lines that say which erasures would have been refused."""
    broke = [f"{row['method']} ({row['concept']})" for row in rows if row["signals"].get(OVER)]
    return [f"Over a retain budget: {', '.join(broke)}.", ""] if broke else []


def cross_table(summary: Mapping[str, Summary]) -> list[str]:
    """Return the lines of a table with a row a way to anchors and a column a projection; a cell tells its erasures."""
    lines = [f"| anchors | {' | '.join(PROJECTIONS)} |", "|---" * (len(PROJECTIONS) + 1) + "|"]
    for anchors in ANCHORS:
        found = [summary.get(crossed(anchors, projection), {}).get(HARMONIC) for projection in PROJECTIONS]
        cells = [f"{with_spread(one)}, n {one['n']}" if one else "" for one in found]
        lines.append(f"| {anchors} | {' | '.join(cells)} |")
    return lines


def _run(options: argparse.Namespace, known: set[str]) -> list[str]:
    measures = Measures(metrics=(*WHOLE, *SOURCE_FREE))
    runner = Runner(options.out / "ablations.rows.jsonl", measures, frozenset(options.redo), compute)
    number, shards = shard_of(options.shard)
    for subject in open_subjects(options.subject or ["bundled"], options.data, options.pool):
        jobs = [
            Job(subject, concept, seed)
            for seed in range(options.seeds)
            for concept in subject.developments[: options.concepts]
        ]
        runner.run(every(wanted(variants(known), options.variants), jobs[number::shards]))
    return runner.failures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description="What each part is worth")
    parser.add_argument("--subject", action="append", help="`bundled`, or NAME=FOLDER of the zoo; repeatable")
    parser.add_argument("--data", action="append", default=[], help="NAME=FOLDER: the subject's photographs, if moved")
    parser.add_argument("--pool", action="append", default=[], type=Path, help="Further photographs for every pool")
    parser.add_argument(
        "--variants", nargs="*", default=[], metavar="PATTERN", help="These alone beside ours, `*` for anything"
    )
    parser.add_argument("--concepts", type=int, default=DEVELOPMENTS, help="Dev concepts")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--shard", default="0/1", help="I/N: run the missing rows of every N-th concept and stop")
    parser.add_argument("--redo", nargs="*", default=[], metavar="NAME", help="Compute anew, since the method changed")
    parser.add_argument("--table", action="store_true", help="Compute nothing, write the table of all rows there are")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser


if __name__ == "__main__":
    sys.exit(main())
