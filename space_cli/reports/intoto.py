"""An audit as an in-toto statement: a test result about the files that the erasure changed, by digest.

It is not signed here; a signer wraps it. `inconclusive` is WARNED, never PASSED. A file that the original has as well
is no subject: whoever holds the original would find that it had passed.

References:
    in-toto Attestation Framework, Statement v1 and predicate test-result v0.1.
"""

from space_cli.core.records import AuditReport, ErasureReceipt, Source, Verdict
from space_cli.reports._words import document, inputs_of

FILE = "attestation.intoto.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
RESULTS = {"pass": "PASSED", "inconclusive": "WARNED", "fail": "FAILED"}


def render(report: AuditReport, receipt: ErasureReceipt) -> str:
    """Return the statement; its result is the record's verdict."""
    return document(
        {
            "_type": STATEMENT,
            "subject": [{"name": path, "digest": {"sha256": digest}} for path, digest in _subject(report, receipt)],
            "predicateType": PREDICATE,
            "predicate": {
                "result": RESULTS[report.verdict],
                "configuration": _configuration(report, receipt),
                "passedTests": _tests(report, "pass"),
                "warnedTests": _tests(report, "inconclusive"),
                "failedTests": _tests(report, "fail"),
            },
        }
    )


def _subject(report: AuditReport, receipt: ErasureReceipt) -> list[tuple[str, str]]:
    own = [(f"{source.kind}/space.json", source.sha256) for source in report.inputs if source.kind == "erased"]
    # A subject is what a verifier holds in its hands, so the checkpoint's files come first.
    return [*receipt.changed.items(), *own]


def _tests(report: AuditReport, verdict: Verdict) -> list[str]:
    return [gate.rule for gate in report.gates if gate.verdict == verdict]


def _configuration(report: AuditReport, receipt: ErasureReceipt) -> list[dict[str, object]]:
    policy: dict[str, object] = {
        "name": f"policy {report.policy}",
        "digest": {"sha256": report.policy_sha256},
        "annotations": {
            "concept": report.concept.name,
            "seed": report.seed,
            "budgets": report.request.budgets,
            "limit": report.request.limit,
            "space_version": report.space_version,
            "requests": receipt.requests,
            "ledger": receipt.ledger,
            "not_measured": report.skipped,
            "passed_over": report.passed_over,
        },
    }
    named = inputs_of(report, receipt)
    return [policy, *(_input(name, source) for name, source in named if source.kind != "erased")]


def _input(name: str, source: Source) -> dict[str, object]:
    covers = "its space.json; where it has none, the sorted list of its files with their SHA-256"
    return {"name": name, "digest": {"sha256": source.sha256}, "annotations": {"digest_of": covers}}
