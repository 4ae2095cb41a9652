"""An audit as a page for people: one HTML file to read, print, or attach to a ticket.

No time and no host stand in it, so that equal audits give equal bytes; `space.json` beside it has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL.Image import Image

from space_cli.core.budgets import budgets_text
from space_cli.core.records import AuditReport, ErasureReceipt, ScoreRecord
from space_cli.reports._attacks import attacks_said
from space_cli.reports._page import data_uri, escaped, isolated, mark, page, table, tag
from space_cli.reports._plot import curve, magnitude
from space_cli.reports._scores import courses, figure, scores
from space_cli.reports._words import (
    BUDGETS,
    INSTRUCTED,
    LIMITS,
    PASSED_OVER,
    inputs_of,
    limit_said,
    outcome_said,
    requests_said,
)

LEFT_OUT = "The pictures of the concept are left out: this report may not show what it may not name."
PSEUDONYM = (
    "This report is pseudonymized: a keyed hash stands for the concept, and only whoever has the key can tell which "
    "one it is. The nearest names, its kind, and the digests of the inputs stay."
)

SECTIONS = {
    "forget": "The concept itself",
    "neighbour": "Its nearest neighbours",
    "retain": "Other concepts",
}

SENTENCES = {
    "forget_accuracy": "Shown {n} pictures of {what}, the checkpoint named it in {before} of its answers "
    "before "
    "and in {after} after erasing (95 % interval {low} to {high}).",
    "forget_choice_accuracy": "Made to rank names, it put {what} first for {before} of these pictures "
    "before and "
    "for {after} after ({note}).",
    "forget_yes_rate": "Asked whether {what} is there, it said yes in {before} of the answers before and in "
    "{after} after.",
    "retain_accuracy": "Asked about {n} pictures of other things, it was right in {before} of its answers "
    "before "
    "and in {after} after.",
    "neighbour_accuracy": "For the concepts nearest to {what} these figures are {before} and {after}.",
    "worst_neighbour": "For the one of them that lost most they are {before} and {after} ({note}).",
    "kind_accuracy": "It told what kind of thing {what} is for {before} of its pictures before and for {after} after.",
    "elicitation": "A fresh attack that searches for the name: {before} before, {after} after.",
}
"""The summary, in this order; a score without a sentence stands in the table alone."""


@dataclass(frozen=True)
class Sample:
    """One picture with the answers before and after."""

    role: str  # "forget", "neighbour" or "retain"
    name: str  # what it shows
    path: str  # as the auditor gave it
    question: str
    before: str
    after: str
    image: Image | None  # None where a report may not show it


@dataclass(frozen=True)
class Evidence:
    """What the page shows beside the record."""

    samples: Sequence[Sample]
    training: Sequence[Mapping[str, float]]  # rows with a "step", as the erasure wrote them
    receipt: ErasureReceipt


def render(report: AuditReport, evidence: Evidence) -> str:
    """Return the page; every decision in it was taken in the record."""
    name = report.concept.name
    parts = (
        _head(report, evidence.receipt),
        "<main>",
        _summary(report),
        _pictures(evidence.samples),
        scores(report),
        courses(report.scores),
        _gates(report),
        _training(evidence.training, evidence.receipt),
        _layers(evidence.receipt),
        _limits(),
        _provenance(report, evidence.receipt),
        "</main>",
        f"<footer><small>Written by space {escaped(report.space_version)}; the same figures stand in "
        f"space.json "
        "beside this page.</small></footer>",
    )
    return page(f"Audit of {name}: {report.verdict}", "\n".join(part for part in parts if part))


def _head(report: AuditReport, receipt: ErasureReceipt) -> str:
    verdict = report.verdict
    open_gates = [gate for gate in report.gates if gate.verdict != "pass"]
    reasons = "".join(
        f"<li>{tag(gate.verdict)} <span class='code'>{escaped(gate.rule)}</span>: {escaped(gate.reason)}</li>"
        for gate in open_gates
    )
    return (
        '<header><p class="kicker">Concept erasure audit</p>'
        f"<h1>{isolated(report.concept.name)}</h1>"
        f'<p class="soft">in {isolated(receipt.request.model)}, erased with '
        f"<span class='code'>{escaped(receipt.request.method)}</span> in {receipt.steps} steps</p>"
        f"{f'<p>{escaped(requests_said(receipt))}</p>' if receipt.requests > 1 else ''}"
        f"{f'<p>{INSTRUCTED}</p>' if receipt.instruction else ''}"
        f"{f'<p>{PSEUDONYM}</p>' if report.pseudonymized else ''}"
        f'<section class="verdict {verdict}" aria-label="Verdict">{mark(verdict, css="mark")}<div>'
        f"<strong>Suppression tested under policy “{isolated(report.policy)}”: {verdict}</strong>"
        f"<span>{outcome_said(report)}</span>{f'<ul>{reasons}</ul>' if reasons else ''}</div></section></header>"
    )


def _summary(report: AuditReport) -> str:
    lines = [
        _said(score, report.concept.spoken, sentence)
        for name, sentence in SENTENCES.items()
        if (score := report.scores.get(name)) is not None and score.after is not None
    ]
    lines += [escaped(told)] if (told := attacks_said(report.scores)) else []
    skipped = "".join(
        f"<li><span class='code'>{escaped(name)}</span>: {escaped(why)}</li>" for name, why in report.skipped.items()
    )
    body = "".join(f"<p>{line}</p>" for line in lines) or "<p>Nothing could be measured.</p>"
    return f"<h2>In plain words</h2>{body}" + (f"<h3>Not measured</h3><ul>{skipped}</ul>" if skipped else "")


def _said(score: ScoreRecord, what: str, sentence: str) -> str:
    bounds = {key: figure(getattr(score, key), score.unit) for key in ("before", "after", "low", "high")}
    return sentence.format(n=score.n, what=isolated(what), note=escaped(score.note), **bounds)


def _pictures(samples: Sequence[Sample]) -> str:
    blocks = []
    for role, title in SECTIONS.items():
        own = [sample for sample in samples if sample.role == role]
        if own:
            asked = ", ".join(f"“{isolated(text)}”" for text in dict.fromkeys(one.question for one in own))
            figures = "\n".join(_figure(sample) for sample in own)
            left_out = f"<p>{LEFT_OUT}</p>" if any(one.image is None for one in own) else ""
            head = f"<h3>{title}</h3><p class='soft'>Asked: {asked}</p>{left_out}"
            blocks.append(f'{head}<div class="pictures">{figures}</div>')
    if not blocks:
        return "<h2>Answers before and after</h2><p>No pictures were given to this audit.</p>"
    return f"<h2>Answers before and after</h2>{''.join(blocks)}"


def _figure(sample: Sample) -> str:
    shown = "<p class='soft withheld'>picture left out</p>"
    if sample.image is not None:
        shown = f'<img src="{data_uri(sample.image)}" alt="a picture of {escaped(sample.name)}">'
    return (
        f"<figure>{shown}<figcaption><strong>{isolated(sample.name)}</strong><dl><dt>before</dt>"
        f"<dd>{_answer(sample.before)}</dd>"
        f'<dt>after</dt><dd class="now">{_answer(sample.after)}</dd></dl></figcaption></figure>'
    )


def _answer(text: str) -> str:
    return isolated(text) if text.strip() else "<i>(no words)</i>"


def _gates(report: AuditReport) -> str:
    rows = [
        f"<tr><th scope='row' class='code'>{escaped(gate.rule)}</th><td>{tag(gate.verdict)}</td>"
        f"<td>{escaped(gate.reason)}</td></tr>"
        for gate in report.gates
    ]
    rules = table([("Rule", ""), ("Verdict", ""), ("Found", "")], rows)
    over = "".join(f"<li>{escaped(rule)}</li>" for rule in report.passed_over)
    left = f"<p><small>{PASSED_OVER}</small></p><ul class='over code'>{over}</ul>" if over else ""
    told = budgets_text(report.request.budgets)
    tried = f"<p><small>{BUDGETS} <span class='code'>{escaped(told)}</span></small></p>" if told else ""
    fewer = f"<p><small>{limit_said(report)}</small></p>" if report.request.limit else ""
    return f"<h2>Rules of the policy</h2>{rules}{left}{tried}{fewer}"


def _training(rows: Sequence[Mapping[str, float]], receipt: ErasureReceipt) -> str:
    keys = dict.fromkeys(key for row in rows for key in row if key != "step")
    plots = []
    for key in keys:
        own = [(row["step"], row[key]) for row in rows if key in row and "step" in row]
        if own:
            drawn = curve([step for step, _ in own], [value for _, value in own], key)
            caption = f"<figcaption class='code'>{escaped(key)}</figcaption>"
            plots.append(f"<figure>{caption}{drawn}</figure>")
    if not plots:
        return ""
    seen = "which saw pictures of the concept" if receipt.request.forget_images else "which saw none of the concept"
    return (
        f"<h2>The erasure</h2><p class='soft'>Signals of the training, {seen}. "
        "<span class='code'>docs/format.md</span> of the project says what each one is, under "
        "<span class='code'>space/metrics.jsonl</span>.</p>"
        f'<div class="plots">{"".join(plots)}</div>'
    )


def _layers(receipt: ErasureReceipt) -> str:
    top = max((layer.relative_change for layer in receipt.layers), default=0.0)
    rows = [
        f"<tr><th scope='row' class='code'>{escaped(layer.parameter)}</th><td "
        f"class='number'>{layer.rank}</td>"
        f"<td class='number'>{100 * layer.relative_change:.1f} "
        f"%</td><td>{magnitude(layer.relative_change, top)}</td>"
        f"<td class='number'>{layer.leak:.2g}</td><td class='number'>{layer.leak_rounded:.2g}</td>"
        f"<td class='number'>{100 * layer.retained_energy:.2g} %</td></tr>"
        for layer in receipt.layers
    ]
    if not rows:
        return ""
    head = [("Parameter", ""), ("rank", "number"), ("change", "number"), ("", ""), ("leak", "number")]
    head += [("leak, rounded", "number"), ("retained energy", "number")]
    return (
        f"<h2>Edited layers</h2>{table(head, rows)}<p><small>Change: size of the edit relative to the "
        f"weight. Leak: "
        "relative change of the layer's output on held-out retained inputs, before and after rounding to "
        f"{escaped(receipt.dtype)}. Retained energy: share of those inputs that lies in the directions the "
        f"edit reads.</small></p>"
    )


def _limits() -> str:
    return f"<h2>What this does not show</h2><ul>{''.join(f'<li>{limit}</li>' for limit in LIMITS)}</ul>"


def _provenance(report: AuditReport, receipt: ErasureReceipt) -> str:
    entries = [(label, source.path, source.sha256) for label, source in inputs_of(report, receipt)]
    entries.append(("policy", report.request.policy or report.policy, report.policy_sha256))
    rows = [
        f"<tr><th scope='row'>{escaped(kind)}</th><td class='code'>{isolated(path)}</td>"
        f"<td class='code'>{escaped(digest)}</td></tr>"
        for kind, path, digest in entries
    ]
    head = [("Input", ""), ("Where it was", ""), ("SHA-256", "")]
    return (
        f"<h2>Provenance</h2>{table(head, rows)}<p><small>Schema {report.schema_version}, seed "
        f"{report.seed}. "
        "Check the whole chain with <span class='code'>space verify</span>. When and on which machine it was made, "
        "<span class='code'>run</span> in space.json says.</small></p>"
    )
