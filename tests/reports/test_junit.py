"""JUnit has no official schema file in any package; the rules of junit-10.xsd are written out here."""

from xml.etree import ElementTree as Xml

import pytest

from audited import HOSTILE, evidence, report

from space_cli.core.records import GateRecord
from space_cli.reports.junit import render

TEXT = {"failure", "error", "skipped"}
ALLOWED = {
    # element: (required attributes, optional attributes, children)
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url", "version"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": ({"name"}, {"time", "classname", "group"}, {*TEXT, "system-out", "system-err"}),
    **{name: (set(), {"type", "message"}, set()) for name in TEXT},
    "system-out": (set(), set(), set()),
    "system-err": (set(), set(), set()),
}


def check(element):
    required, optional, children = ALLOWED[element.tag]
    assert required <= set(element.keys()) <= required | optional, element.tag
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        check(child)


def read(**more):
    name = more.pop("name", "panda")
    root = Xml.fromstring(render(report(name, **more), evidence(name).receipt).encode())
    assert root.tag == "testsuites"
    check(root)
    for suite in root:
        counts = {"tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error"}
        for attribute, path in (counts | {"skipped": "testcase/skipped"}).items():
            assert int(suite.get(attribute)) == len(suite.findall(path)), attribute
    for attribute in ("tests", "failures", "errors"):
        assert int(root.get(attribute)) == sum(int(suite.get(attribute)) for suite in root)
    return root


def test_the_checker_can_fail():
    for text in ("<testsuites><testcase name='x'/></testsuites>", "<testsuites><testsuite name='x'/></testsuites>"):
        with pytest.raises(AssertionError):
            check(Xml.fromstring(text))


@pytest.mark.parametrize(("verdict", "element"), [("fail", "failure"), ("inconclusive", "error"), ("pass", None)])
def test_only_a_pass_is_a_passed_test(verdict, element):
    root = read(verdict=verdict)
    cases = {case.get("name"): [child.tag for child in case] for case in root[0].iter("testcase")}
    wanted = [element] if element else []
    assert cases == {"forget_accuracy ≤ 0.1": wanted, "verdict": wanted}
    assert (int(root.get("failures")), int(root.get("errors"))) == (
        2 * (verdict == "fail"),
        2 * (verdict == "inconclusive"),
    )


def test_a_verdict_that_is_no_pass_is_no_passed_test_whatever_the_rules():
    gates = [GateRecord(score="a", rule="a ≤ 1", verdict="pass", reason="")]
    assert read(verdict="inconclusive", gates=gates).get("errors") == "1"


def test_what_was_not_measured_is_skipped_with_the_reason():
    skipped = read().findall("testsuite[@name='not measured']/testcase")
    assert [(case.get("name"), case.find("skipped").get("message")) for case in skipped] == [
        ("elicitation", "because of panda")
    ]
    assert len(read(skipped={})) == 1


def test_properties_and_scores_are_there():
    root = read()
    facts = {entry.get("name"): entry.get("value") for entry in root.iter("property")}
    assert facts["policy_sha256"] == "cd" * 32
    assert facts["input_erased_sha256"] == "ab" * 32
    assert "after 10 %, interval 5 % to 20 %, n = 20" in root.find("testsuite/system-out").text


def test_hostile_names_stay_text():
    gates = [GateRecord(score="a", rule="a ≤ 1", verdict="fail", reason=f"{HOSTILE} \x00\x7f\ufffe ]]> <!--")]
    root = read(name=HOSTILE, verdict="fail", gates=gates)
    assert [element.tag for element in root.iter() if element.tag not in ALLOWED] == []
    reason = root.find("testsuite/testcase/failure").get("message")
    assert reason.startswith('"><script>alert')
    assert reason.endswith("\ufffd\ufffd\ufffd ]]> <!--")
