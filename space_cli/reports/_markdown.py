"""Markdown as forges and hubs draw it, with foreign text that stays text."""

import re

from collections.abc import Sequence

from space_cli.core.budgets import budgets_text
from space_cli.core.records import AuditReport, GateRecord, ScoreRecord
from space_cli.reports._words import BUDGETS, difference_text, figure_text, interval_text, label_of, limit_said, plain

_MARKUP = re.compile(r"[\\`*_\[\]<>|~&#$!]|:(?=//)")
SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?"}


def escaped(text: str) -> str:
    r"""Return text that is only text in Markdown, inside a table too.

    Example:
        >>> escaped("<b>|x|</b>")
        '\\<b\\>\\|x\\|\\</b\\>'
    """
    return _MARKUP.sub(lambda found: f"\\{found[0]}", plain(text))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[str] = ()) -> str:
    """Return a table; cells are Markdown already.

    Args:
        head: Titles of the columns.
        rows: One cell per column.
        numeric: Titles of the columns that align right.
    """
    rule = ["---:" if title in numeric else "---" for title in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def score_table(report: AuditReport) -> str:
    """Return every score before and after, with interval and control; of attacks also the plain measure."""
    attacked = any(score.unattacked is not None for score in report.scores.values())
    rows = [
        (
            f"{escaped(label_of(name))} (`{name}`{_unit(score.unit)})",
            figure_text(score.before, score.unit),
            figure_text(score.after, score.unit),
            interval_text(score),
            *([figure_text(score.unattacked, score.unit)] if attacked else []),
            figure_text(score.control, score.unit),
            str(score.n),
            score.better,
            *(_beside(report.baseline.get(name)) if report.baseline else ()),
        )
        for name, score in report.scores.items()
    ]
    numeric = ["before", "after", "95 % interval", *(["unattacked"] if attacked else []), "control", "n"]
    head = ["Score", *numeric, "better", *(["baseline, after", "minus baseline"] if report.baseline else [])]
    return table(head, rows, numeric=numeric)


def gate_table(gates: Sequence[GateRecord]) -> str:
    """Return every rule with what it decided."""
    rows = [(escaped(gate.rule), f"{SIGNS[gate.verdict]} {gate.verdict}", escaped(gate.reason)) for gate in gates]
    return table(("Rule", "Verdict", "Found"), rows)


def tried_with(report: AuditReport) -> str:
    """Return which budgets this audit changed and which images it left out, or nothing."""
    told = budgets_text(report.request.budgets)
    return "\n\n".join(filter(None, (f"{BUDGETS} {escaped(told)}" if told else "", limit_said(report))))


def _beside(score: ScoreRecord | None) -> tuple[str, str]:
    if score is None:
        return "–", "–"
    return figure_text(score.after, score.unit), difference_text(score) or "–"


def _unit(unit: str) -> str:
    return "" if unit == "share" else f", {escaped(unit)}"


def not_measured(report: AuditReport) -> str:
    """Return the list of what was not measured, each with the reason; nothing where all was."""
    lines = [f"- {escaped(label_of(name))}: {escaped(why)}" for name, why in report.skipped.items()]
    return "\n".join(("Not measured:", "", *lines)) if lines else ""
