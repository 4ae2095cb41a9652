"""`league.json`, `league.md` and `league.png` from rows."""

import json

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.league import costs as costing
from benchmarks.league import goals, setting
from benchmarks.league.entries import (
    FIRST_RATES,
    FIRST_STEPS,
    MASKED,
    OURS,
    RATES,
    RATES_AT,
    STEPS,
    TAUS,
    UNLIMITED,
    entries,
)
from benchmarks.league.picture import draw
from benchmarks.league.scoring import HARMONIC, completed, drawings, paired, photographs, summary_of
from benchmarks.league.signals import correlations, signal_table
from benchmarks.league.versions import MARK, earlier_rows, footnote
from benchmarks.tables import Row, Stats, Summary, commit, machine, origin, spread, table, verdicts, with_spread

SHORT = {
    HARMONIC: HARMONIC,
    "forget_accuracy": "FA_gen",
    "forget_choice_accuracy": "FA_mc",
    "forget_yes_rate": "says yes",
    "generality": "generality",
    "retain_accuracy, relative": "RA, relative",
    "neighbour_accuracy, relative": "nearest 5, relative",
    "neighbours 6 to 20, relative": "6 to 20",
    "neighbours 21 to 50, relative": "21 to 50",
    "neighbours after 50, relative": "after 50",
    "specificity, relative": "general, relative",
    "text_knowledge, relative": "text, relative",
    "retain_kl": "KL",
    "refused": "refused",
}
"""Columns of the first table: figure -> heading."""


def current(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that count: the newest weights of a subject, an entry's newest settings there, each cell once."""
    weights = {row["subject"]: row["checkpoint"] for row in rows}
    known = [row for row in rows if row["checkpoint"] == weights[row["subject"]]]
    newest = {_place(row): _asked(row) for row in known}
    cells = {(*_place(row), row["concept"], row["seed"]): row for row in known if _asked(row) == newest[_place(row)]}
    return list(cells.values())


def result_of(rows: Sequence[Row], chosen: Mapping[str, Any], costs: Sequence[Row] = ()) -> dict[str, Any]:
    """Return what stands in `league.json`, but for machine, commit and command.

    Args:
        rows: Of the table. The drawings have a summary of their own, and enter nothing else.
        chosen: Settings of the rivals.
        costs: Rows of the commands, measured one after the other; those of other weights or settings do not count.
    """
    shown, drawn = photographs(rows), drawings(rows)
    whole, names = completed(shown), _playing(shown)
    subjects = list(dict.fromkeys(row["subject"] for row in shown))
    timed = costing.matching(costs, rows)
    return {
        "rows": list(rows),
        "summary": summary_of(whole, names),
        "subjects": {
            subject: summary_of([row for row in whole if row["subject"] == subject], names) for subject in subjects
        },
        "paired": _paired(whole),
        "drawings": {"summary": summary_of(completed(drawn), _playing(drawn)), "paired": _paired(completed(drawn))},
        "tuning": chosen,
        "costs": summary_of(photographs(timed), _playing(photographs(timed))),
        "signals": correlations([row for row in shown if row["method"] == OURS]),
        "earlier": earlier_rows(rows),
    }


def write(out: Path, rows: Sequence[Row], chosen: Mapping[str, Any], *, command: str, costs: Sequence[Row] = ()) -> str:
    """Write the three files and return the page."""
    result = result_of(rows, chosen, costs) | {"machine": machine(), "commit": commit(), "command": command.strip()}
    (out / "league.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(result["summary"], OURS, out / "league.png")
    page = "\n".join(_page(result, costing.matching(costs, rows))) + "\n"
    (out / "league.md").write_text(page, encoding="utf-8")
    return page


def overview(summary: Mapping[str, Summary], rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table with a row an entry, the best harmonic mean first.

    Args:
        summary: Entry -> figure -> mean.
        rows: What they are means of; entries with rows of earlier defaults are marked.
    """
    lines = ["| entry | n | subjects | " + " | ".join(SHORT.values()) + " |", "|---" * (len(SHORT) + 3) + "|"]
    ordered = sorted(summary.items(), key=lambda item: -_harmonic(summary, item[0]))
    earlier = earlier_rows(rows)
    for name, found in ordered:
        own = [row for row in rows if row["method"] == name]
        if found:
            said = f"{name} {MARK}" if name in earlier else name
            subjects = ", ".join(dict.fromkeys(row["subject"] for row in own))
            cells = " | ".join(_cell(found.get(key), key) for key in SHORT)
            lines.append(f"| {said} | {len(own)} | {subjects} | {cells} |")
    return lines


def _by_subject(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table with a row an entry and a column a subject, as the first table is ordered."""
    subjects = result["subjects"]
    lines = ["| entry | " + " | ".join(subjects) + " |", "|---" * (len(subjects) + 1) + "|"]
    for name in sorted(result["summary"], key=lambda name: -_harmonic(result["summary"], name)):
        cells = (_cell(summary.get(name, {}).get(HARMONIC), HARMONIC) for summary in subjects.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _harmonic(summary: Mapping[str, Summary], name: str) -> float:
    return summary[name].get(HARMONIC, {"mean": 0.0})["mean"]


def _page(result: Mapping[str, Any], timed: Sequence[Row]) -> list[str]:
    rows, summary = photographs(result["rows"]), result["summary"]
    concepts = {(row["subject"], row["concept"]) for row in rows}
    lines = [
        "# The league",
        "",
        origin(result),
        "",
        f"{len(rows)} erasures of {len(concepts)} test concepts of {', '.join(result['subjects']) or 'no photographs'}"
        ". Mean over concepts with a 95 % interval over concepts in the detailed tables.",
        "",
        "A refusal counts as no erasure: forgetting stays at what it was before, retaining at 1. "
        "[How it is measured](method.md).",
        "",
        "![forgetting against retaining](league.png)",
        "",
        "`n` counts cells: concepts and seeds. Rows that cover other subjects or cells cannot be compared with each "
        "other; the differences below are over the cells that both have.",
        "",
        *overview(summary, completed(rows)),
        "",
        *footnote(earlier_rows(rows)),
        *_insisted(result["rows"]),
        "## Harmonic mean, subject by subject",
        "",
        *_by_subject(result),
        "",
        "## Ours minus each entry, harmonic mean",
        "",
        *_differences(result["paired"]),
        "",
        *_apart(rows),
        "## Goals",
        "",
        *goals.lines_of(result, photographs(timed)),
        "",
        "## What an erasure costs",
        "",
        *costing.table_of(photographs(timed), list(summary)),
        "",
        "## Settings of the rivals",
        "",
        f"Grid: rates {_spelled(RATES)}, beginning with {_spelled(FIRST_RATES)} at {RATES_AT} steps; steps "
        f"{_spelled(STEPS)} at the best rate, beginning with {_spelled(FIRST_STEPS)}; for {', '.join(MASKED)} τ of "
        f"{_spelled(TAUS)} at the best of both. Budgets of rivals: `{' '.join(UNLIMITED)}`.",
        "",
        *setting.lines_of(result["rows"], result["tuning"], result["earlier"]),
        *setting.mask_lines(result["rows"]),
        "",
        "## Source-free signals against the true FA_gen, ours",
        "",
        *signal_table(result["signals"]),
    ]  # fmt: skip
    for subject, found in result["subjects"].items():
        own = [row for row in rows if row["subject"] == subject]
        lines += ["", f"## {subject}", "", *overview(found, completed(own))]
    lines += _drawings(result, timed)
    for name, found in summary.items():
        own = [row for row in rows if row["method"] == name]
        lines += ["", f"## {name}, all figures", "", f"{len(own)} runs: {verdicts(own)}.", "", *table(found)]
    return lines


def _drawings(result: Mapping[str, Any], timed: Sequence[Row]) -> list[str]:
    """Return the section about the bundled checkpoint, which none of the tables before holds; nothing without rows."""
    rows, found = drawings(result["rows"]), result["drawings"]
    if not rows:
        return []
    return [
        "", "## The drawings of the bundled checkpoint", "",
        f"{len(rows)} erasures of {len({row['concept'] for row in rows})} test concepts. They stand in no table but "
        "those of this section and of the settings: a small checkpoint of drawings says little about photographs.", "",
        *overview(found["summary"], completed(rows)), "",
        *footnote(earlier_rows(rows)),
        *_differences(found["paired"]), "",
        *costing.table_of(drawings(timed), list(found["summary"])),
    ]  # fmt: skip


def _paired(whole: Sequence[Row]) -> dict[str, Stats]:
    return paired(whole, OURS, [name for name in _playing(whole) if name != OURS])


def _differences(paired: Mapping[str, Stats]) -> list[str]:
    lines = ["| entry | mean | 95 % | n |", "|---|---|---|---|"]
    return lines + [
        f"| {name} | {p['mean']:+.4f} | {spread(p, '+.4f') or '-'} | {p['n']} |" for name, p in paired.items()
    ]


def _apart(rows: Sequence[Row]) -> list[str]:
    """Return the same two tables for concepts that `select` let through; nothing where it let all through.

    Every entry erases with the same anchors, so that its refusal hides what sets them apart.
    """
    refused = {_concept(row): row["reason"] for row in rows if row.get("refused_by") == "select"}
    left = completed([row for row in rows if _concept(row) not in refused])
    if not refused or not left:
        return []
    names = _playing(left)
    said = [f"- {concept} ({subject}, seed {seed}): {why}" for (subject, concept, seed), why in refused.items()]
    return [
        "## Without the concepts that `space select` refused for every entry", "", *said, "",
        *overview(summary_of(left, names), left), "",
        *_differences(_paired(left)), "",
    ]  # fmt: skip


def _insisted(rows: Sequence[Row]) -> list[str]:
    concepts = dict.fromkeys(f"{row['concept']} ({row['subject']})" for row in rows if row.get("insisted"))
    if not concepts:
        return []
    return [f"`space select` took {', '.join(concepts)} for unknown and was run with `--allow-unknown`.", ""]


def _playing(rows: Sequence[Row]) -> list[str]:
    """Return the entries that have a row, in the order of `entries`."""
    there = {row["method"] for row in rows}
    return [name for name in entries() if name in there]


def _concept(row: Row) -> tuple[str, str, int]:
    return row["subject"], row["concept"], row["seed"]


def _place(row: Row) -> tuple[str, str]:
    return row["subject"], row["method"]


def _asked(row: Row) -> str:
    return json.dumps([row["settings"], row["scope"], row["select"]], sort_keys=True)


def _cell(found: Stats | None, key: str) -> str:
    if found is None:
        return ""
    if key == HARMONIC:
        return with_spread(found)
    return f"{found['mean']:.{1 if key.startswith('seconds') else 3}f}"


def _spelled(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
