"""The scores of an audit on its page: a table with bars, and the courses of those that have one."""

from collections.abc import Mapping

from space_cli.core.records import AuditReport, ScoreRecord
from space_cli.reports._page import escaped, table
from space_cli.reports._plot import LEGEND, curve, full_scale, score_bar
from space_cli.reports._words import LABELS, difference_parts, figure_text, interval_text, label_of

COURSES = {"before": "before erasing", "after": "after erasing", "control": "control, after erasing"}
"""What each curve of a score is of."""


def scores(report: AuditReport) -> str:
    """Return the section with every score, a bar for its interval and the baseline beside it."""
    order = [*LABELS, *report.scores]
    names = [name for name in dict.fromkeys(order) if name in report.scores]
    if not names:
        return ""
    beside = {name: _beside(report.baseline.get(name)) if report.baseline else "" for name in names}
    rows = [_score(name, report.scores[name], beside[name]) for name in names]
    head = [("Score", ""), ("before", "number"), ("after", "number"), ("", ""), ("n", "number")]
    head += [("baseline, after", "number")] if report.baseline else []
    return f"<h2>Scores</h2>{LEGEND}{table(head, rows)}"


def _beside(score: ScoreRecord | None) -> str:
    """Return the cell of another erased checkpoint's score."""
    if score is None:
        return "<td class='number'>–</td>"
    # On lines of their own: the cell does not wrap, and a long line would take its width from the first column.
    found = difference_parts(score)
    apart = "".join(f"<small>{line}</small>" for line in ("difference", *found)) if found else ""
    return f"<td class='number'>{figure_text(score.after, score.unit)}<small>{interval_text(score)}</small>{apart}</td>"


def _score(name: str, score: ScoreRecord, beside: str) -> str:
    label = label_of(name)
    facts = [] if score.unit == "share" else [score.unit]
    facts += [f"{score.better} is better"]
    note = f"<small>{escaped(score.note)}</small>" if score.note else ""
    return (
        f"<tr><th scope='row'>{escaped(label)}<small><span class='code'>{escaped(name)}</span>: "
        f"{escaped(', '.join(facts))}</small>{note}</th>"
        f"<td class='number'>{figure_text(score.before, score.unit)}</td>"
        f"<td class='number'><b>{figure_text(score.after, score.unit)}</b></td>"
        f"<td>{score_bar(score, label)}{_range_text(score)}</td><td class='number'>{score.n}</td>{beside}</tr>"
    )


def _range_text(score: ScoreRecord) -> str:
    if score.low is None:
        return ""
    control = "" if score.control is None else f", control {figure(score.control, score.unit)}"
    if score.unattacked is not None:
        control += f", without the attack {figure(score.unattacked, score.unit)}"
    low, high = (figure(value, score.unit) for value in (score.low, score.high))
    scale = "" if score.unit == "share" else f"; the bar ends at {full_scale(score):.3g}"
    return f"<small>{low} to {high}{control}{scale}</small>"


def figure(value: float | None, unit: str) -> str:
    """Write one figure for running text: its unit never stands alone on the next line."""
    return f'<span class="figure">{figure_text(value, unit)}</span>'


def courses(scores: Mapping[str, ScoreRecord]) -> str:
    """Return the section with the curve of each score that has one."""
    plots = []
    for name, score in scores.items():
        span = (0.0, 1.0) if score.unit == "share" else None
        for key, points in score.curves.items():
            words = f"{label_of(name)}, {COURSES.get(key, key)}"
            drawn = curve([step for step, _ in points], [value for _, value in points], words, span=span)
            plots.append(f"<figure><figcaption>{escaped(words)}</figcaption>{drawn}</figure>")
    return f'<h2>Scores over steps</h2><div class="plots">{"".join(plots)}</div>' if plots else ""
