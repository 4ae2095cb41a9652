"""The ML-BOM against the official 1.7 schema, and references that lead somewhere."""

import json

import pytest

from audited import HOSTILE, evidence, report, score
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from space_cli.core.records import GateRecord
from space_cli.reports._words import LIMITS
from space_cli.reports.cyclonedx import render


@pytest.fixture(scope="module")
def validator():
    return JsonStrictValidator(SchemaVersion.V1_7)


def refs(part):
    if isinstance(part, dict):
        own = [part["bom-ref"]] if "bom-ref" in part else []
        return own + [ref for value in part.values() for ref in refs(value)]
    return [ref for value in part for ref in refs(value)] if isinstance(part, list) else []


def read(validator, name="panda", **more):
    text = render(report(name, **more), evidence(name).receipt)
    assert validator.validate_str(text) is None
    bom = json.loads(text)
    known = refs(bom)
    assert len(set(known)) == len(known)
    for claim in bom["declarations"]["claims"]:
        assert {claim["target"], *claim.get("evidence", ()), *claim.get("counterEvidence", ())} <= set(known)
    for entry in bom["declarations"]["attestations"][0]["map"]:
        assert {entry["requirement"], *entry.get("claims", ()), *entry.get("counterClaims", ())} <= set(known)
    return bom


def test_the_validator_refuses_what_the_schema_forbids(validator):
    bom = json.loads(render(report(), evidence().receipt))
    assert validator.validate_str(json.dumps(bom | {"extra": 1})) is not None
    bom["metadata"]["component"]["type"] = "model"
    assert validator.validate_str(json.dumps(bom)) is not None


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_it_is_an_ml_bom_with_pedigree_and_model_card(validator, verdict):
    bom = read(validator, verdict=verdict)
    model = bom["metadata"]["component"]
    assert (bom["specVersion"], model["type"]) == ("1.7", "machine-learning-model")
    ancestor = model["pedigree"]["ancestors"][0]
    assert [(file["name"], file["hashes"][0]["content"]) for file in ancestor["components"]] == [
        ("model.safetensors", "12" * 32),
        ("config.json", "34" * 32),
    ]
    assert [file["hashes"][0]["content"] for file in model["components"]] == ["34" * 32]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    after = next(entry for entry in metrics if entry["slice"] == "after erasing")
    assert (after["type"], after["value"]) == ("forget_accuracy", "0.1")
    assert after["confidenceInterval"] == {"lowerBound": "0.05", "upperBound": "0.2"}


@pytest.mark.parametrize(
    ("verdict", "side", "degree"),
    [("pass", "claims", 1.0), ("fail", "counterClaims", 0.0), ("inconclusive", "counterClaims", None)],
)
def test_a_rule_conforms_only_where_it_passed(validator, verdict, side, degree):
    declared = read(validator, verdict=verdict)["declarations"]
    assert declared["attestations"][0]["summary"] == f"Suppression tested under policy “default”: {verdict}"
    entry = declared["attestations"][0]["map"][0]
    assert entry[side] == ["claim-1"]
    assert {"claims", "counterClaims"} & set(entry) == {side}
    assert entry["conformance"].get("score") == degree
    assert declared["claims"][1]["predicate"] == f"forget_accuracy ≤ 0.1: {verdict}"


def claim(validator, **more):
    return read(validator, **more)["declarations"]["claims"][0]


def test_scores_speak_for_the_claim_or_against_it(validator):
    passed, failed = claim(validator, verdict="pass"), claim(validator, verdict="fail")
    assert passed["evidence"] == ["score-forget_accuracy"]
    assert "score-forget_accuracy" not in passed["counterEvidence"]
    assert failed["evidence"] == []
    assert "score-forget_accuracy" in failed["counterEvidence"]
    for found in (passed, failed):
        assert {"skipped-elicitation", "limits"} <= set(found["counterEvidence"])


def test_one_open_rule_makes_a_score_counter_evidence(validator):
    gates = [
        GateRecord(score="forget_accuracy", rule=f"forget_accuracy ≤ {limit}", verdict=verdict, reason="")
        for limit, verdict in ((0.1, "pass"), (0.2, "inconclusive"))
    ]
    found = claim(validator, verdict="inconclusive", gates=gates)
    assert found["evidence"] == []
    assert found["counterEvidence"][0] == "score-forget_accuracy"


@pytest.mark.parametrize(("after", "against"), [(0.25, True), (0.0, False)])
def test_an_attack_that_no_rule_bounds_is_counter_evidence_where_it_succeeded(validator, after, against):
    scores = {"forget_accuracy": score(), "relearn": score(after, low=0.0, high=0.5)}
    found = claim(validator, verdict="pass", scores=scores)
    assert ("score-relearn" in found["counterEvidence"]) == against
    assert "score-relearn" not in found["evidence"]


def test_evidence_holds_the_figures_and_the_limits(validator):
    entries = {entry["bom-ref"]: entry for entry in read(validator)["declarations"]["evidence"]}
    contents = entries["score-forget_accuracy"]["data"][0]["contents"]["attachment"]["content"]
    assert json.loads(contents)["high"] == 0.2
    assert json.loads(entries["limits"]["data"][0]["contents"]["attachment"]["content"])["limits"] == list(LIMITS)


def test_the_serial_number_is_a_digest_of_the_content(validator):
    first, same, other = (read(validator, verdict=verdict)["serialNumber"] for verdict in ("pass", "pass", "fail"))
    assert first == same != other


def test_hostile_names_are_valid_too(validator):
    read(validator, HOSTILE, verdict="fail")


def test_trade_offs_are_what_fell(validator):
    scores = {
        name: score(after, better="higher") for name, after in (("retain_accuracy", 0.85), ("kind_accuracy", 0.9))
    }
    card = read(validator, scores=scores)["metadata"]["component"]["modelCard"]
    assert card["considerations"]["performanceTradeoffs"] == ["Names other concepts correctly: 90 % before, 85 % after"]


def test_the_patch_is_a_file_of_the_erased_folder_with_its_digest(validator):
    component = read(validator)["metadata"]["component"]
    (patch,) = component["pedigree"]["patches"]
    told = {entry["name"]: entry["value"] for entry in component["properties"]}
    assert told[f"space:sha256:{patch['diff']['url']}"] == "34" * 32
