"""`league.json`, `league.md` and `league.png` from rows."""

import json

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.league.entries import (
    FIRST_RATES,
    FIRST_STEPS,
    ORACLE,
    OURS,
    RATES,
    RATES_AT,
    RIVALS,
    STEPS,
    UNLIMITED,
    Settings,
    entries,
)
from benchmarks.league.picture import draw
from benchmarks.league.scoring import HARMONIC, best, completed, correlations, paired, summary_of
from benchmarks.tables import Row, Stats, Summary, commit, machine, table, verdicts

SHORT = {
    HARMONIC: HARMONIC,
    "forget_accuracy": "FA_gen",
    "forget_choice_accuracy": "FA_mc",
    "generality": "generality",
    "retain_accuracy, relative": "RA, relative",
    "neighbour_accuracy, relative": "nearest 5, relative",
    "neighbours 6 to 20, relative": "6 to 20",
    "neighbours 21 to 50, relative": "21 to 50",
    "neighbours after 50, relative": "after 50",
    "specificity": "general",
    "text_knowledge, relative": "text, relative",
    "retain_kl": "KL",
    "refused": "refused",
}
"""Columns of the first table: figure -> heading."""
GOALS = (
    ("forget_accuracy", "at most", 0.05),
    ("forget_choice_accuracy", "at most", 0.12),
    ("retain_accuracy, relative", "at least", 0.985),
    ("neighbour_accuracy, relative", "at least", 0.95),
    ("text_knowledge, relative", "at least", 0.97),
)


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
        rows: Of the table.
        chosen: Settings of the rivals.
        costs: Rows of the commands, measured one after the other.
    """
    whole = completed(rows)
    names = _playing(rows)
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    return {
        "rows": list(rows),
        "summary": summary_of(whole, names),
        "subjects": {
            subject: summary_of([row for row in whole if row["subject"] == subject], names) for subject in subjects
        },
        "paired": paired(whole, OURS, [name for name in names if name != OURS]),
        "tuning": chosen,
        "costs": summary_of(costs, _playing(costs)),
        "signals": correlations([row for row in rows if row["method"] == OURS]),
    }


def write(out: Path, rows: Sequence[Row], chosen: Mapping[str, Any], *, command: str, costs: Sequence[Row] = ()) -> str:
    """Write the three files and return the page."""
    result = result_of(rows, chosen, costs) | {"machine": machine(), "commit": commit(), "command": command.strip()}
    (out / "league.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(result["summary"], OURS, out / "league.png")
    page = "\n".join(_page(result)) + "\n"
    (out / "league.md").write_text(page, encoding="utf-8")
    return page


def overview(summary: Mapping[str, Summary]) -> list[str]:
    """Return the lines of a table with a row an entry, the best harmonic mean first."""
    lines = ["| entry | " + " | ".join(SHORT.values()) + " |", "|---" * (len(SHORT) + 1) + "|"]
    ordered = sorted(summary.items(), key=lambda item: -item[1].get(HARMONIC, {"mean": 0.0})["mean"])
    for name, found in ordered:
        if found:
            lines.append(f"| {name} | " + " | ".join(_cell(found.get(key), key) for key in SHORT) + " |")
    return lines


def _page(result: Mapping[str, Any]) -> list[str]:
    rows, summary = result["rows"], result["summary"]
    concepts = {(row["subject"], row["concept"]) for row in rows}
    commits = ", ".join(f"`{name}`" for name in dict.fromkeys(row["commit"] for row in rows))
    lines = [
        "# The league",
        "",
        f"`{result['command']}` at commit `{result['commit']}`, on {result['machine']['cores']} cores "
        f"({result['machine']['processor']}), torch {result['machine']['torch']}; rows computed at {commits or '-'}.",
        "",
        f"{len(rows)} erasures of {len(concepts)} test concepts of {', '.join(result['subjects'])}. Mean over "
        "concepts with a 95 % bootstrap interval over concepts in the detailed tables.",
        "",
        "A refusal counts as no erasure: forgetting stays at what it was before, retaining at 1. "
        "[How it is measured](method.md).",
        "",
        "![forgetting against retaining](league.png)",
        "",
        *overview(summary),
        "",
        *_insisted(rows),
        "## Ours minus each entry, harmonic mean",
        "",
        *_differences(result["paired"]),
        "",
        *_apart(rows),
        "## Goals",
        "",
        *_goals(result),
        "",
        "## What an erasure costs",
        "",
        *_costs(result["costs"]),
        "",
        "## Settings of the rivals",
        "",
        f"Grid: rates {_spelled(RATES)}, beginning with {_spelled(FIRST_RATES)} at {RATES_AT} steps; steps "
        f"{_spelled(STEPS)} at the best rate, beginning with {_spelled(FIRST_STEPS)}. Budgets of rivals: "
        f"`{' '.join(UNLIMITED)}`.",
        "",
        *_settings(result),
        "",
        "## Source-free signals against the true FA_gen, ours",
        "",
        *signal_table(result["signals"]),
    ]  # fmt: skip
    for subject, found in result["subjects"].items():
        lines += ["", f"## {subject}", "", *overview(found)]
    for name, found in summary.items():
        own = [row for row in rows if row["method"] == name]
        lines += ["", f"## {name}, all figures", "", f"{len(own)} runs: {verdicts(own)}.", "", *table(found)]
    return lines


def _differences(paired: Mapping[str, Stats]) -> list[str]:
    lines = ["| entry | mean | 95 % | n |", "|---|---|---|---|"]
    return lines + [
        f"| {name} | {p['mean']:+.4f} | {p['low']:+.4f} to {p['high']:+.4f} | {p['n']} |" for name, p in paired.items()
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
        *overview(summary_of(left, names)), "",
        *_differences(paired(left, OURS, [name for name in names if name != OURS])), "",
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


def signal_table(signals: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of a table of correlations."""
    lines = ["| signal | Pearson | Spearman | n |", "|---|---|---|---|"]
    return lines + [
        f"| {name} | {s['pearson']:+.3f} | {s['spearman']:+.3f} | {int(s['n'])} |" for name, s in signals.items()
    ]


def _goals(result: Mapping[str, Any]) -> list[str]:
    ours, rows = result["summary"].get(OURS, {}), completed(result["rows"])
    lines = ["| figure of ours | found | goal | met |", "|---|---|---|---|"]
    for rival in best(rows, RIVALS, 1):
        found = result["paired"].get(rival)
        if found:
            lines.append(
                _goal(f"harmonic mean minus the best rival's, {rival}", found, "interval above 0", found["low"] > 0)
            )
    if ORACLE in result["paired"]:
        found = result["paired"][ORACLE]
        lines.append(_goal("harmonic mean minus the oracle's", found, "at least -0.02", found["mean"] >= -0.02))
    for name, side, limit in GOALS:
        if name in ours:
            met = ours[name]["mean"] <= limit if side == "at most" else ours[name]["mean"] >= limit
            lines.append(_goal(name, ours[name], f"{side} {limit:g}", met))
    times = [result["costs"].get(name, {}).get("seconds of erase") for name in (OURS, "siu")]
    if all(times):
        ratio = times[0]["mean"] / times[1]["mean"]
        lines.append(f"| seconds of erase over those of siu | {ratio:.2f} | at most 3 | {_yes(ratio <= 3)} |")
    return lines


def _costs(costs: Mapping[str, Summary]) -> list[str]:
    """Return the lines of a table of what the commands took, one after the other on the same machine."""
    fastest = costs.get("siu", {}).get("seconds of erase")
    lines = ["| entry | select, s | erase, s | over siu | peak, GB | n |", "|---" * 6 + "|"]
    for name, found in costs.items():
        if (erase := found.get("seconds of erase")) is None:
            continue
        ratio = f"{erase['mean'] / fastest['mean']:.2f}" if fastest else ""
        parts = (found["seconds of select"]["mean"], erase["mean"], found["peak memory, GB"]["mean"])
        lines.append(f"| {name} | {parts[0]:.1f} | {parts[1]:.1f} | {ratio} | {parts[2]:.2f} | {int(erase['n'])} |")
    return lines


def _goal(name: str, found: Stats, goal: str, met: bool) -> str:
    return f"| {name} | {found['mean']:.4f} ({found['low']:.4f} to {found['high']:.4f}) | {goal} | {_yes(met)} |"


def _settings(result: Mapping[str, Any]) -> list[str]:
    lines = ["| subject | entry | settings | chosen by |", "|---|---|---|---|"]
    used = {(row["subject"], row["method"]): row["settings"] for row in result["rows"]}
    for (subject, name), settings in used.items():
        said = ", ".join(f"{key}={value}" for key, value in settings.items()) or "defaults"
        how = _chosen_by(name, settings, result["tuning"].get(subject, {}).get(name))
        lines.append(f"| {subject} | {name} | {said} | {how} |")
    return lines


def _chosen_by(name: str, settings: Settings, found: Mapping[str, Any] | None) -> str:
    if name in {OURS, ORACLE}:
        return "one setting for everything"
    if found is None or found["settings"] != settings:
        return "defaults, not searched"
    concepts = ", ".join(found["concepts"])
    return f"{found['criterion']}: {found['harmonic_mean']:.3f}, {found['tried']} tried on {concepts}"


def _place(row: Row) -> tuple[str, str]:
    return row["subject"], row["method"]


def _asked(row: Row) -> str:
    return json.dumps([row["settings"], row["scope"], row["select"]], sort_keys=True)


def _cell(found: Stats | None, key: str) -> str:
    if found is None:
        return ""
    interval = f" ({found['low']:.3f} to {found['high']:.3f})" if key == HARMONIC else ""
    return f"{found['mean']:.{1 if key.startswith('seconds') else 3}f}{interval}"


def _spelled(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _yes(met: bool) -> str:
    return "yes" if met else "no"
