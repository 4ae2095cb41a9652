"""Every document of an audit, written into its folder."""

import json

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from space_cli.core.records import AuditReport
from space_cli.io.artifact import write_text
from space_cli.reports import card, cyclonedx, html, intoto, junit, sarif, summary
from space_cli.reports.html import Evidence, Sample

SHOWN = {"forget": 12, "neighbour": 6, "retain": 6}
"""Pictures in the page, by role; more would make it slow to open."""
FORMATS = (junit, sarif, intoto, cyclonedx, card, summary)
"""Made from record and receipt alone; each names its file."""


def write_documents(folder: Path, report: AuditReport, evidence: Evidence) -> None:
    """Write the samples, the page, and each format for machines.

    Args:
        folder: The audit folder under construction.
        report: The record, its verdict taken; neither its files nor its run are read.
        evidence: What the page shows beside it, with all samples.
    """
    write_text(folder / "samples.jsonl", "".join(f"{_row(sample)}\n" for sample in evidence.samples))
    shown = [sample for role, limit in SHOWN.items() for sample in _of_role(evidence.samples, role)[:limit]]
    write_text(folder / "report.html", html.render(report, replace(evidence, samples=shown)))
    for form in FORMATS:
        write_text(folder / form.FILE, form.render(report, evidence.receipt))


def _row(sample: Sample) -> str:
    keys = ("role", "name", "path", "question", "before", "after")
    return json.dumps({key: getattr(sample, key) for key in keys}, ensure_ascii=False)


def _of_role(samples: Sequence[Sample], role: str) -> list[Sample]:
    return [sample for sample in samples if sample.role == role]
