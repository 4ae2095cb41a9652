"""An audit as a CycloneDX 1.7 ML-BOM: the edited checkpoint, what it was made from, and what is claimed about it.

The policy is a standard with one requirement per rule. The claim about the concept has the scores of rules that passed
as evidence; as counter-evidence it has the scores of those that did not, each share that no rule bounds and that still
shows the concept, what was not measured, and the limits of any audit. The serial number is a digest of the content.

References:
    CycloneDX Specification 1.7 (ECMA-424): `pedigree`, `modelCard`, `declarations`, `definitions`.
"""

import hashlib
import json
import uuid

from collections.abc import Iterable, Mapping

from space_cli.core.budgets import budgets_text
from space_cli.core.records import AuditReport, ErasureReceipt, GateRecord, ScoreRecord
from space_cli.io.edits import EDITS
from space_cli.reports._words import (
    BUDGETS,
    INSTRUCTED,
    LIMITS,
    TOOL,
    document,
    figure_text,
    figures_of,
    headline,
    label_of,
    limit_said,
    plain,
    requests_said,
    weights_of,
)

FILE = "bom.cdx.json"
EDITED, BASE, CLAIM, POLICY = "edited", "base", "claim", "policy"
"""References inside the document."""
CONFORMANCE = {"pass": {"score": 1.0}, "fail": {"score": 0.0}, "inconclusive": {}}
"""An inconclusive rule has no degree of conformance, not even zero."""
Part = dict[str, object]


def render(report: AuditReport, receipt: ErasureReceipt) -> str:
    """Return the document; every verdict in it is the record's."""
    body: Part = {
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "post-build"}],
            "tools": {"components": [{"type": "application", "name": TOOL, "version": report.space_version}]},
            "component": _edited(report, receipt),
        },
        "declarations": {
            "attestations": [{"summary": _summary(report), "map": _map(report)}],
            "claims": [_claim(report), *_rule_claims(report)],
            "evidence": _evidence(report),
        },
        "definitions": {"standards": [_standard(report)]},
    }
    digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    head: Part = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
    }
    return document(head | body)


def _summary(report: AuditReport) -> str:
    told = budgets_text(report.request.budgets)
    parts = (headline(report), f"{BUDGETS} {plain(told)}." if told else "", limit_said(report))
    return " ".join(part for part in parts if part)


def _edited(report: AuditReport, receipt: ErasureReceipt) -> Part:
    edits = [
        {"name": f"space:edit:{layer.parameter}", "value": f"rank {layer.rank}, change {layer.relative_change:.6g}"}
        for layer in receipt.layers
    ]
    edits += [
        {"name": f"space:sha256:erased/{entry.path}", "value": entry.sha256}
        for entry in receipt.files
        if entry.path == EDITS
    ]
    base: Part = {
        "type": "machine-learning-model",
        "bom-ref": BASE,
        "name": receipt.request.model,
        **({"version": receipt.request.revision} if receipt.request.revision else {}),
        "components": _files({entry.path: entry.sha256 for entry in receipt.base_files}),
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": EDITED,
        "name": receipt.request.model,
        "version": next((source.sha256 for source in report.inputs if source.kind == "erased"), ""),
        "description": f"Edited with {receipt.request.method} to suppress “{plain(report.concept.name)}”",
        "components": _files({**weights_of(receipt), **receipt.changed}),
        "pedigree": {
            "ancestors": [base],
            "patches": [{"type": "unofficial", "diff": {"url": f"erased/{EDITS}"}}],
            "notes": _notes(receipt),
        },
        "modelCard": _model_card(report),
        "properties": edits,
    }


def _notes(receipt: ErasureReceipt) -> str:
    told = f"{receipt.steps} steps; stopped: {plain(receipt.stopped)}"
    return " ".join(
        part for part in (f"{told}.", requests_said(receipt), INSTRUCTED if receipt.instruction else "") if part
    )


def _files(digests: Mapping[str, str]) -> list[Part]:
    return [
        {"type": "file", "name": path, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for path, digest in digests.items()
    ]


def _model_card(report: AuditReport) -> Part:
    fallen = {name: score for name, score in report.scores.items() if score.better == "higher" and _fell(score)}
    lost = [
        f"{label_of(name)}: {figure_text(one.before, one.unit)} before, {figure_text(one.after, one.unit)} after"
        for name, one in fallen.items()
    ]
    return {
        "modelParameters": {
            "task": "image-text-to-text",
            "inputs": [{"format": "image"}, {"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [entry for name, score in report.scores.items() for entry in _metrics(name, score)]
        },
        "considerations": {"technicalLimitations": list(LIMITS), "performanceTradeoffs": lost},
    }


def _fell(score: ScoreRecord) -> bool:
    return score.before is not None and score.after is not None and score.after < score.before


def _metrics(name: str, score: ScoreRecord) -> list[Part]:
    slices = {
        "before erasing": score.before,
        "after erasing": score.after,
        "control concepts, after erasing": score.control,
    }
    found: list[Part] = [
        {"type": name, "value": f"{value:.6g}", "slice": part} for part, value in slices.items() if value is not None
    ]
    if score.low is not None and score.high is not None:
        bounds = {"lowerBound": f"{score.low:.6g}", "upperBound": f"{score.high:.6g}"}
        for entry in found:
            if entry["slice"] == "after erasing":
                entry["confidenceInterval"] = bounds
    return found


def _standard(report: AuditReport) -> Part:
    rules = [
        {"bom-ref": f"rule-{row}", "identifier": str(row), "title": gate.rule}
        for row, gate in enumerate(report.gates, start=1)
    ]
    return {
        "bom-ref": POLICY,
        "name": f"policy {plain(report.policy)}",
        "version": report.policy_sha256,
        "description": "Rules of an audit; the version is the SHA-256 of their text",
        "requirements": rules,
    }


def _map(report: AuditReport) -> list[Part]:
    return [
        {
            "requirement": f"rule-{row}",
            ("claims" if gate.verdict == "pass" else "counterClaims"): [f"claim-{row}"],
            "conformance": {**CONFORMANCE[gate.verdict], "rationale": f"{gate.verdict}: {plain(gate.reason)}"},
        }
        for row, gate in enumerate(report.gates, start=1)
    ]


def _claim(report: AuditReport) -> Part:
    against = _against(report)
    favour = [gate.score for gate in report.gates if gate.verdict == "pass" and gate.score in report.scores]
    return {
        "bom-ref": CLAIM,
        "target": EDITED,
        "predicate": headline(report),
        "reasoning": "Evidence speaks for a suppression without loss, counter-evidence against it or for its limits. "
        "The verdict is what the policy makes of the scores.",
        "evidence": [_score_ref(name) for name in dict.fromkeys(favour) if name not in against],
        "counterEvidence": [
            *(_score_ref(name) for name in against),
            *(_skipped_ref(name) for name in report.skipped),
            "limits",
        ],
    }


def _rule_claims(report: AuditReport) -> list[Part]:
    return [_rule_claim(f"claim-{row}", gate, report) for row, gate in enumerate(report.gates, start=1)]


def _rule_claim(reference: str, gate: GateRecord, report: AuditReport) -> Part:
    found: Part = {
        "bom-ref": reference,
        "target": EDITED,
        "predicate": f"{gate.rule}: {gate.verdict}",
        "reasoning": plain(gate.reason),
    }
    return found | ({"evidence": [_score_ref(gate.score)]} if gate.score in report.scores else {})


def _against(report: AuditReport) -> list[str]:
    """Return the scores that speak against the claim, or fail to speak for it."""
    open_rules = [gate.score for gate in report.gates if gate.verdict != "pass" and gate.score in report.scores]
    ruled = {gate.score for gate in report.gates}
    left = [name for name, score in report.scores.items() if name not in ruled and _shows_concept(score)]
    return list(dict.fromkeys([*open_rules, *left]))


def _shows_concept(score: ScoreRecord) -> bool:
    return score.better == "lower" and score.unit == "share" and bool(score.after)


def _evidence(report: AuditReport) -> list[Part]:
    scores = [
        _entry(_score_ref(name), f"space:score:{name}", label_of(name), figures_of(score))
        for name, score in report.scores.items()
    ]
    skipped = [
        _entry(_skipped_ref(name), f"space:skipped:{name}", f"{label_of(name)}: not measured", {"why": plain(why)})
        for name, why in report.skipped.items()
    ]
    limits = _entry("limits", "space:limits", "What this audit does not show", {"limits": list(LIMITS)})
    return [*scores, *skipped, limits, _documents(("report.html", "samples.jsonl"))]


def _entry(reference: str, name: str, text: str, content: Mapping[str, object]) -> Part:
    attached = {"contentType": "application/json", "content": json.dumps(content, ensure_ascii=False)}
    return {
        "bom-ref": reference,
        "propertyName": name,
        "description": text,
        "data": [{"name": name, "contents": {"attachment": attached}}],
    }


def _documents(paths: Iterable[str]) -> Part:
    return {
        "bom-ref": "documents",
        "propertyName": "space:documents",
        "description": "Answers and pictures behind the scores, beside this file",
        "data": [{"name": path, "contents": {"url": path}} for path in paths],
    }


def _score_ref(name: str) -> str:
    return f"score-{name}"


def _skipped_ref(name: str) -> str:
    return f"skipped-{name}"
