"""An audit as SARIF 2.1.0, for code scanning: one result per rule that did not pass, and one for the verdict.

A rule that passed has no result: code scanning shows each result as a problem, whatever its `kind`. What passed is told
by the rules of the driver and by the run's properties. A failed rule has the level `error`, an inconclusive one
`warning`. The kind of both is `fail`, since the specification allows any other kind no level but `none`, and a result
without a level would look like a pass.

References:
    Static Analysis Results Interchange Format (SARIF) Version 2.1.0 (OASIS Standard), sections 3.27.9 and 3.27.10.
"""

import hashlib

from space_cli.core.records import AuditReport, ErasureReceipt, Verdict
from space_cli.reports._words import TOOL, document, figures_of, headline, label_of, plain

FILE = "audit.sarif"
LEVELS = {"fail": "error", "inconclusive": "warning"}
RECORD = "space.json"
"""Of the erased folder: the one text file that stands for the checkpoint."""


def render(report: AuditReport, receipt: ErasureReceipt) -> str:
    """Return the document; every verdict in it is the record's."""
    ids = [*dict.fromkeys(gate.score for gate in report.gates), "verdict"]
    found = [(gate.score, gate.rule, gate.verdict, f"{gate.rule}: {gate.reason}") for gate in report.gates]
    found.append(("verdict", "verdict", report.verdict, f"{headline(report)} ({plain(report.concept.name)})"))
    run = {
        "tool": {"driver": {"name": TOOL, "version": report.space_version, "rules": [_rule(name) for name in ids]}},
        "originalUriBaseIds": {"ERASED": {"description": {"text": "The folder of the edited checkpoint"}}},
        "artifacts": [_artifact(report)],
        "results": [_result(report, ids, *entry) for entry in found if entry[2] != "pass"],
        "columnKind": "unicodeCodePoints",
        "properties": _properties(report, receipt),
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    return document({"$schema": schema, "version": "2.1.0", "runs": [run]})


def _rule(name: str) -> dict[str, object]:
    text = "The verdict of the policy" if name == "verdict" else label_of(name)
    return {"id": name, "shortDescription": {"text": text}, "defaultConfiguration": {"level": "error"}}


def _artifact(report: AuditReport) -> dict[str, object]:
    digest = next((source.sha256 for source in report.inputs if source.kind == "erased"), None)
    place: dict[str, object] = {"location": {"uri": RECORD, "uriBaseId": "ERASED"}}
    return place | ({"hashes": {"sha-256": digest}} if digest else {})


def _result(
    report: AuditReport, ids: list[str], score: str, rule: str, verdict: Verdict, text: str
) -> dict[str, object]:
    place = {"artifactLocation": {"uri": RECORD, "uriBaseId": "ERASED", "index": 0}, "region": {"startLine": 1}}
    # Without figures, so that a finding keeps its identity from one audit to the next.
    identity = hashlib.sha256("\n".join((report.concept.name, report.policy, rule)).encode()).hexdigest()
    return {
        "ruleId": score,
        "ruleIndex": ids.index(score),
        "kind": "fail",
        "level": LEVELS[verdict],
        "message": {"text": plain(text)},
        "locations": [{"physicalLocation": place, "logicalLocations": [{"name": score, "kind": "score"}]}],
        "partialFingerprints": {"spaceRule/v1": identity},
        "properties": {"verdict": verdict, "rule": rule},
    }


def facts(report: AuditReport) -> dict[str, object]:
    """Return what the run's properties repeat of the record, to the last digit; `space verify` compares the two."""
    return {
        "concept": report.concept.name,
        "aliases": list(report.concept.aliases),
        "verdict": report.verdict,
        "policy": {"name": report.policy, "sha256": report.policy_sha256},
        "inputs": [{"kind": source.kind, "sha256": source.sha256} for source in report.inputs],
        "seed": report.seed,
        "budgets": report.request.budgets,
        "limit": report.request.limit,
        "names": list(report.request.names),
        "gates": [gate.model_dump(mode="json") for gate in report.gates],
        "passed_over": report.passed_over,
        "scores": {name: figures_of(score) for name, score in report.scores.items()},
        "baseline": {name: figures_of(score) for name, score in report.baseline.items()},
        "skipped": report.skipped,
    }


def _properties(report: AuditReport, receipt: ErasureReceipt) -> dict[str, object]:
    return {**facts(report), "model": receipt.request.model, "method": receipt.request.method}
