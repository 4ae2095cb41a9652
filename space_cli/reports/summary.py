"""An audit as one screen of Markdown, for the page of a CI job."""

from space_cli.core.records import AuditReport, ErasureReceipt
from space_cli.reports._markdown import SIGNS, escaped, gate_table, not_measured, score_table, tried_with
from space_cli.reports._words import INSTRUCTED, headline, outcome_said, requests_said

FILE = "summary.md"


def render(report: AuditReport, receipt: ErasureReceipt) -> str:
    """Return the summary; every verdict in it is the record's."""
    parts = [
        f"## {SIGNS[report.verdict]} Concept erasure audit: {escaped(report.concept.name)}",
        f"**{escaped(headline(report))}** ({outcome_said(report)})",
        f"{escaped(receipt.request.model)}, edited with {escaped(receipt.request.method)}",
        escaped(requests_said(receipt)),
        INSTRUCTED if receipt.instruction else "",
        gate_table(report.gates),
        tried_with(report),
        f"<details><summary>Scores</summary>\n\n{score_table(report)}\n\n</details>" if report.scores else "",
        not_measured(report),
        "It tests suppression in answers. It does not show that the information is gone, or that it stays away.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
