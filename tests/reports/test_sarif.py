"""SARIF against the model generated from the official 2.1.0 schema, and the rules that no schema holds."""

import json

import pytest

from audited import HOSTILE, evidence, report
from pydantic import ValidationError
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Log

from space_cli.core.records import GateRecord
from space_cli.reports.sarif import render


def read(name="panda", **more):
    text = render(report(name, **more), evidence(name).receipt)
    Log.model_validate_json(text)
    log = json.loads(text)
    assert log["version"] == "2.1.0"
    run = log["runs"][0]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(ids)) == len(ids)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        # Section 3.27.10: a level other than `none` only with the kind `fail`.
        assert result["kind"] == "fail"
        assert result["level"] in {"warning", "error"}
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert run["artifacts"][place["index"]]["location"] == {key: place[key] for key in ("uri", "uriBaseId")}
        assert place["uriBaseId"] in run["originalUriBaseIds"]
    return run


def test_the_model_refuses_what_the_schema_forbids():
    log = json.loads(render(report(), evidence().receipt))
    for broken in ({"runs": 1}, {"version": "2.0.0"}, {"extra": 1}):
        with pytest.raises(ValidationError):
            Log.model_validate(log | broken)
    log["runs"][0]["results"] = [{"level": "bad", "message": {"text": "x"}}]
    with pytest.raises(ValidationError):
        Log.model_validate(log)


@pytest.mark.parametrize(("verdict", "level"), [("fail", "error"), ("inconclusive", "warning")])
def test_what_is_no_pass_is_a_result_with_a_level(verdict, level):
    results = read(verdict=verdict)["results"]
    assert [(result["ruleId"], result["level"]) for result in results] == [
        ("forget_accuracy", level),
        ("verdict", level),
    ]
    assert {result["properties"]["verdict"] for result in results} == {verdict}


def test_a_pass_has_no_result_since_code_scanning_would_show_a_problem():
    run = read(verdict="pass")
    assert run["results"] == []
    assert run["properties"]["verdict"] == "pass"
    assert run["properties"]["gates"][0]["verdict"] == "pass"


def test_two_rules_about_one_score_are_two_findings_of_one_rule():
    gates = [
        GateRecord(score="forget_accuracy", rule=f"forget_accuracy ≤ {limit}", verdict="fail", reason="")
        for limit in (0.1, 0.2)
    ]
    run = read(verdict="fail", gates=gates)
    assert [result["ruleIndex"] for result in run["results"]] == [0, 0, 1]
    assert len({result["partialFingerprints"]["spaceRule/v1"] for result in run["results"]}) == 3


def test_a_finding_keeps_its_identity_when_figures_change():
    gate = {"score": "a", "rule": "a ≤ 1", "verdict": "fail"}
    first, second = (
        read(verdict="fail", gates=[GateRecord(**gate, reason=reason)])["results"][0] for reason in ("is 2", "is 3")
    )
    assert first["message"] != second["message"]
    assert first["partialFingerprints"] == second["partialFingerprints"]


def test_hostile_names_are_valid_too():
    assert read(HOSTILE, verdict="fail")["properties"]["concept"] == HOSTILE
