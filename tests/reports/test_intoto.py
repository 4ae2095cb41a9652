"""The in-toto statement against the framework's own message definitions."""

import dataclasses
import json

import pytest

from audited import HOSTILE, evidence, file, report
from google.protobuf.json_format import ParseDict, ParseError
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as Predicate
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message

from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import Concept
from space_cli.core.records import GateRecord
from space_cli.reports._sampling import pseudonymized
from space_cli.reports.intoto import render


def read(name="panda", **more):
    statement = json.loads(render(report(name, **more), evidence(name).receipt))
    Statement.copy_from_pb(ParseDict(statement, Message())).validate()
    ParseDict(statement["predicate"], Predicate())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["predicate"]["result"] in {"PASSED", "WARNED", "FAILED"}
    for entry in (*statement["subject"], *statement["predicate"]["configuration"]):
        assert all(len(digest) == 64 for digest in entry["digest"].values())
    return statement


def test_the_messages_refuse_what_they_do_not_define():
    with pytest.raises(ParseError):
        ParseDict({"result": "PASSED", "verdict": "pass"}, Predicate())
    with pytest.raises(ParseError):
        ParseDict({"subject": [{"digest": "x"}]}, Message())


@pytest.mark.parametrize(("verdict", "result"), [("pass", "PASSED"), ("inconclusive", "WARNED"), ("fail", "FAILED")])
def test_the_result_is_the_verdict_and_inconclusive_is_no_pass(verdict, result):
    predicate = read(verdict=verdict)["predicate"]
    assert predicate["result"] == result
    tests = {key: predicate[f"{key}Tests"] for key in ("passed", "warned", "failed")}
    assert tests == {key: ["forget_accuracy ≤ 0.1"] if key == result.lower() else [] for key in tests}


def test_the_result_is_not_made_of_the_rules():
    gates = [GateRecord(score="a", rule="a ≤ 1", verdict="pass", reason="")]
    assert read(verdict="inconclusive", gates=gates)["predicate"]["result"] == "WARNED"


def test_the_subject_is_the_weights_by_digest():
    subject = {entry["name"]: entry["digest"]["sha256"] for entry in read()["subject"]}
    assert subject == {"model.safetensors": "34" * 32, "erased/space.json": "ab" * 32}


def subject_of(files, base, **more):
    receipt = evidence().receipt.model_copy(update={"files": files, "base_files": base, **more})
    statement = json.loads(render(report(), receipt))
    Statement.copy_from_pb(ParseDict(statement, Message())).validate()
    return [entry["name"] for entry in statement["subject"]]


def test_what_the_original_has_too_is_no_subject():
    base = [file("a.safetensors", "12"), file("b.safetensors", "56"), file("config.json")]
    edited = [file("a.safetensors", "78"), *base[1:], file("space/edits.safetensors", "9a")]
    assert subject_of(edited, base) == ["a.safetensors", "erased/space.json"]


def test_of_an_instruction_the_template_is_the_subject_and_never_the_originals_weights():
    base = [file("model.safetensors", "12"), file("chat_template.jinja", "56")]
    told = [base[0], file("chat_template.jinja", "78"), file("space/edits.safetensors", "9a")]
    assert subject_of(told, base, instruction="Forget it.") == ["chat_template.jinja", "erased/space.json"]


def test_the_configuration_is_the_policy_and_the_inputs():
    found = {entry["name"]: entry for entry in read()["predicate"]["configuration"]}
    assert set(found) == {"policy default", "checkpoint, of the erasure"}
    assert found["policy default"]["digest"] == {"sha256": "cd" * 32}
    assert found["policy default"]["annotations"]["not_measured"] == {"elicitation": "because of panda"}


def test_hostile_names_are_valid_too():
    assert read(HOSTILE)["predicate"]["configuration"][0]["annotations"]["concept"] == HOSTILE


def test_a_weight_file_named_like_the_concept_is_a_subject_by_another_name():
    told = evidence()
    files = [file("without-panda.safetensors", "12"), file("without-PANDA.safetensors", "56")]
    told = dataclasses.replace(told, receipt=told.receipt.model_copy(update={"files": files}))
    hidden = Pseudonym(Concept(name="panda"), b"k" * 32)
    shown, told = pseudonymized(report(), told, hidden)
    statement = render(shown, told.receipt)
    assert not hidden.tells(statement)
    found = {one["digest"]["sha256"][:2]: one["name"] for one in json.loads(statement)["subject"]}
    del found["ab"]  # the record
    name = f"without-{hidden.text}.safetensors"
    assert found == {"12": name, "56": f"2-{name}"}
