"""An audit as JUnit XML, which every CI server draws: one test case per rule of the policy.

Only a rule that passed is a passed test. A failed rule is a `failure`, an inconclusive one an `error`, and the last
case is the verdict itself. What was not measured is `skipped`, and so is a rule that was passed over for that. No time
stands in it, so that equal audits give equal bytes.

References:
    junit-10.xsd of the Jenkins xUnit plug-in, the schema that most readers follow.
"""

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as Xml

from space_cli.core.budgets import budgets_text
from space_cli.core.records import AuditReport, ErasureReceipt, ScoreRecord, Verdict
from space_cli.reports._words import figure_text, headline, interval_text, label_of, plain

FILE = "junit.xml"
OUTCOME = {"fail": "failure", "inconclusive": "error"}
"""The element that says why a case did not pass."""
UNMEASURED = "its score was not measured, and the policy does not require it"


def render(report: AuditReport, receipt: ErasureReceipt) -> str:
    """Return the document; every verdict in it is the record's."""
    name = f"space audit of {plain(report.concept.name)}"
    rules = [_case(report.policy, gate.rule, gate.verdict, gate.reason) for gate in report.gates]
    rules.append(_case(report.policy, "verdict", report.verdict, headline(report)))
    judged = _suite(name, [_properties(_facts(report, receipt)), *rules, _scores(report.scores)])
    left = [_skipped("metrics", metric, why) for metric, why in report.skipped.items()]
    left += [_skipped(f"policy.{plain(report.policy)}", rule, UNMEASURED) for rule in report.passed_over]
    suites = [judged, _suite("not measured", left)] if left else [judged]
    whole = Xml.Element("testsuites", {"name": name, **_totals(suites, ("tests", "failures", "errors"))})
    whole.extend(suites)
    Xml.indent(whole)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(whole, encoding="unicode")}\n'


def _facts(report: AuditReport, receipt: ErasureReceipt) -> dict[str, str]:
    return {
        "concept": report.concept.name,
        "verdict": report.verdict,
        "policy": report.policy,
        "policy_sha256": report.policy_sha256,
        "model": receipt.request.model,
        "method": receipt.request.method,
        "seed": str(report.seed),
        **({"budgets": told} if (told := budgets_text(report.request.budgets)) else {}),
        **({"limit": str(report.request.limit)} if report.request.limit else {}),
        "space_version": report.space_version,
        **{f"input_{source.kind}_sha256": source.sha256 for source in report.inputs},
    }


def _properties(facts: Mapping[str, str]) -> Xml.Element:
    found = Xml.Element("properties")
    for name, value in facts.items():
        Xml.SubElement(found, "property", {"name": name, "value": plain(value)})
    return found


def _case(policy: str, name: str, verdict: Verdict, reason: str) -> Xml.Element:
    case = Xml.Element("testcase", {"classname": f"policy.{plain(policy)}", "name": plain(name)})
    if verdict != "pass":
        Xml.SubElement(case, OUTCOME[verdict], {"type": verdict, "message": plain(reason)})
    return case


def _skipped(group: str, name: str, why: str) -> Xml.Element:
    case = Xml.Element("testcase", {"classname": group, "name": plain(name)})
    Xml.SubElement(case, "skipped", {"message": plain(why)})
    return case


def _scores(scores: Mapping[str, ScoreRecord]) -> Xml.Element:
    lines = [
        f"{name} ({label_of(name)}): before {figure_text(score.before, score.unit)}, "
        f"after {figure_text(score.after, score.unit)}, interval {interval_text(score)}, n = {score.n}"
        for name, score in scores.items()
    ]
    found = Xml.Element("system-out")
    found.text = "\n".join(plain(line) for line in lines)
    return found


def _suite(name: str, parts: Iterable[Xml.Element]) -> Xml.Element:
    suite = Xml.Element("testsuite", {"name": name})
    suite.extend(list(parts))
    counts = {"tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error"}
    for attribute, path in (counts | {"skipped": "testcase/skipped"}).items():
        suite.set(attribute, str(len(suite.findall(path))))
    return suite


def _totals(suites: Iterable[Xml.Element], attributes: Iterable[str]) -> dict[str, str]:
    return {attribute: str(sum(int(suite.get(attribute, "0")) for suite in suites)) for attribute in attributes}
