"""An audit as a section of a model card: Markdown to paste into the README of the edited checkpoint."""

from space_cli.core.records import AuditReport, ErasureReceipt
from space_cli.reports._markdown import escaped, gate_table, not_measured, score_table, tried_with
from space_cli.reports._words import INSTRUCTED, LIMITS, PASSED_OVER, headline, inputs_of, outcome_said, requests_said

FILE = "model-card.md"


def render(report: AuditReport, receipt: ErasureReceipt) -> str:
    """Return the section; every verdict in it is the record's."""
    parts = [
        "## Concept erasure",
        _what(report, receipt),
        f"**{escaped(headline(report))}** ({outcome_said(report)})",
        "### Scores",
        score_table(report) if report.scores else "Nothing could be measured.",
        not_measured(report),
        "### Rules of the policy",
        gate_table(report.gates),
        _passed_over(report),
        tried_with(report),
        "### What this does not show",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "### Provenance",
        _provenance(report, receipt),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(report: AuditReport, receipt: ErasureReceipt) -> str:
    told = (
        f"This checkpoint is {escaped(receipt.request.model)}, edited with {escaped(receipt.request.method)} to "
        f"suppress the concept “{escaped(report.concept.name)}” (layers edited: {len(receipt.layers)}). "
        "`space verify` compares every other parameter with the original, bit by bit."
    )
    more = (escaped(requests_said(receipt)), INSTRUCTED if receipt.instruction else "")
    return " ".join(part for part in (told, *more) if part)


def _passed_over(report: AuditReport) -> str:
    if not report.passed_over:
        return ""
    rules = "\n".join(f"- {escaped(rule)}" for rule in report.passed_over)
    # Folded away: under a shipped policy these are some forty lines where no attack was asked for.
    return f"<details><summary>{PASSED_OVER} {len(report.passed_over)} in all</summary>\n\n{rules}\n\n</details>"


def _provenance(report: AuditReport, receipt: ErasureReceipt) -> str:
    facts = [
        ("written by", f"space {report.space_version}, seed {report.seed}"),
        (f"policy {report.policy}", report.policy_sha256),
        *((label, source.sha256) for label, source in inputs_of(report, receipt)),
    ]
    return "\n".join(f"- {escaped(name)}: `{value}`" for name, value in facts)
