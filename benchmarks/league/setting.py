"""Which settings the rows of a table were made with, and how these came about."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.league.entries import ORACLE, OURS
from benchmarks.league.versions import Earlier
from benchmarks.tables import Row, listed

MASK = "mask_share"
"""The signal that tells the share of entries that a mask lets through."""


def lines_of(rows: Sequence[Row], chosen: Mapping[str, Any], earlier: Earlier) -> list[str]:
    """Return the lines of a table with a row a subject and entry.

    Args:
        rows: Of the league's table.
        chosen: Subject -> rival -> what its finished search chose.
        earlier: Which rows are of earlier defaults.
    """
    lines = ["| subject | entry | settings | chosen by |", "|---|---|---|---|"]
    used = {(row["subject"], row["method"]): row for row in rows}
    for (subject, name), row in used.items():
        said = ", ".join(f"{key}={value}" for key, value in row["settings"].items()) or "defaults"
        old = earlier.get(name, {}).get(subject)
        how = _ours(old)
        if name not in {OURS, ORACLE}:
            how = _chosen_by(row, chosen.get(subject, {}).get(name)) + (f"; {how}" if old else "")
        lines.append(f"| {subject} | {name} | {said} | {how} |")
    return lines


def mask_lines(rows: Sequence[Row]) -> list[str]:
    """Return what each mask of the table's rows let through; nothing where no entry has a mask."""
    lines = []
    for subject, name in dict.fromkeys((row["subject"], row["method"]) for row in rows if MASK in row["signals"]):
        own = [row for row in rows if (row["subject"], row["method"]) == (subject, name) and MASK in row["signals"]]
        said = ", ".join(f"{row['concept']}{_seed(row)} {row['signals'][MASK]:.2g}" for row in own)
        lines.append(f"- {name} on {subject}: {said}")
    if not lines:
        return []
    return ["", "Share of the entries that the saliency mask lets through:", "", *lines]


def _seed(row: Row) -> str:
    return f" (seed {row['seed']})" if row["seed"] else ""


def _ours(old: Mapping[str, Any] | None) -> str:
    if old is None:
        return "one setting for everything"
    return f"earlier defaults, those of {listed(old['commits'])}, in {old['rows']} of {old['of']} rows"


def _chosen_by(row: Row, found: Mapping[str, Any] | None) -> str:
    if not row["settings"]:
        return "defaults, not searched"
    if found is None:
        return "a search that is not finished by today's rule"
    if found["settings"] != row["settings"]:
        return "an earlier state of the search"
    concepts = ", ".join(found["concepts"])
    open_end = "" if found["ended"] else ", the search not at its end"
    told = f"{found['criterion']}: {found['harmonic_mean']:.3f}, {found['tried']} tried on {concepts}{open_end}"
    other = found["checkpoint"] != row["checkpoint"]
    return f"{told}; of an earlier training of the same subject, `{found['checkpoint']}`" if other else told
