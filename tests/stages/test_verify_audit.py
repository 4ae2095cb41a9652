"""What an audit rests on is sealed: inputs, seed and rules cannot be changed in its record unseen."""

import json
import os

import pytest
import torch

from erased_folder import make_base, make_edits, make_erased

from space_cli import __version__
from space_cli.core.errors import ArtifactFault
from space_cli.core.examining import every_score
from space_cli.core.gating import judge
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.core.records import AuditReport, GateRecord, ScoreRecord
from space_cli.io.artifact import file_records, new_artifact, read_record, source_of
from space_cli.io.probe import open_policy
from space_cli.reports import sarif
from space_cli.stages.verify import refuse_altered, verify

RECORD = f"record and {sarif.FILE}"


@pytest.fixture
def audit(tmp_path):
    """An audit, of images too, of an erased checkpoint."""
    erased = make_erased(tmp_path / "erased", make_base(tmp_path / "base", torch.float16), edits=make_edits())
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"png")
    with new_artifact(tmp_path / "audit", "", overwrite=False) as draft:
        report = AuditReport(
            space_version="0",
            seed=3,
            inputs=[source_of(erased, "erased"), source_of(tmp_path / "images", "images")],
            files=[],
            run=draft.run(),
            request=AuditRequest(erased=str(erased)),
            concept=Concept(name="panda"),
            verdict="pass",
            scores={"retain_kl": ScoreRecord(before=0.0, after=0.25, low=0.125, high=0.5, n=9, better="lower")},
            skipped={},
            gates=[GateRecord(score="retain_kl", rule="retain_kl ≤ 1", verdict="pass", reason="0.25")],
            passed_over=["attack_images ≤ 0.1"],
            policy="p",
            policy_sha256="",
            seconds={},
        )
        (draft.path / sarif.FILE).write_text(sarif.document({"runs": [{"properties": sarif.facts(report)}]}))
        draft.finish(report.model_copy(update={"files": draft.files()}))
    return tmp_path / "audit"


def failed(folder):
    return {check.name: check.detail for check in verify(folder) if not check.passed}


def change(folder, name, act):
    path = folder / name
    content = json.loads(path.read_text())
    act(content)
    path.write_text(json.dumps(content))


def test_a_whole_audit_passes_back_to_the_base(audit):
    assert not failed(audit)
    names = {check.name for check in verify(audit)}
    assert {RECORD, "input erased", "input images", "erased: edited parameters"} <= names


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (
            lambda told: told.update(inputs=[]),
            {RECORD: "not as recorded: inputs", "input erased": "nothing was audited"},
        ),
        (lambda told: told["inputs"].pop(0), {RECORD: "inputs", "input erased": "names no erased folder"}),
        (lambda told: told["inputs"].pop(1), {RECORD: "not as recorded: inputs"}),
        (lambda told: told["inputs"].reverse(), {RECORD: "not as recorded: inputs"}),
        (lambda told: told["inputs"][1].update(kind="baseline"), {RECORD: "inputs"}),
        (lambda told: told["inputs"][1].update(sha256="0" * 64), {RECORD: "inputs", "input images": "was altered"}),
        (lambda told: told.update(seed=4), {RECORD: "not as recorded: seed"}),
        (lambda told: told["request"].update(limit=5), {RECORD: "not as recorded: limit"}),
        (lambda told: told["request"].update(names=["bear"]), {RECORD: "not as recorded: names"}),
        (lambda told: told["concept"].update(aliases=["giant panda"]), {RECORD: "not as recorded: aliases"}),
        (lambda told: told.update(passed_over=[]), {RECORD: "not as recorded: passed_over"}),
        (lambda told: told["gates"].pop(), {RECORD: "not as recorded: gates", "verdict": "not as recorded: verdict"}),
        (lambda told: told["scores"]["retain_kl"].update(after=0.24), {RECORD: "not as recorded: scores"}),
    ],
    ids=[
        "no inputs",
        "no erased",
        "no images",
        "order",
        "kind",
        "digest",
        "seed",
        "limit",
        "names",
        "aliases",
        "passed over",
        "gate",
        "score",
    ],
)
def test_a_record_that_was_edited_is_found(audit, act, found):
    change(audit, "space.json", act)
    told = failed(audit)
    assert set(told) == set(found)
    for name, said in found.items():
        assert said in told[name]


def test_an_audit_that_never_named_what_it_audited_fails_though_both_documents_agree(audit):
    change(audit, "space.json", lambda told: told.update(inputs=[], files=[]))
    change(audit, sarif.FILE, lambda told: told["runs"][0]["properties"].update(inputs=[]))
    assert set(failed(audit)) == {"input erased", f"file {sarif.FILE}"}


def test_a_document_without_the_inputs_is_said_to_be_older_or_cut(audit):
    def cut(told):
        for key in ("inputs", "seed", "passed_over"):
            del told["runs"][0]["properties"][key]

    change(audit, sarif.FILE, cut)
    told = failed(audit)[RECORD]
    assert "does not repeat inputs, seed, passed_over of the record" in told
    assert "an earlier version of `space` wrote it, or somebody took that out" in told


def test_a_pipe_in_the_place_of_the_document_is_not_waited_for(audit):
    (audit / sarif.FILE).unlink()
    os.mkfifo(audit / sarif.FILE)
    assert "is missing or no document of ours" in failed(audit)[RECORD]


def rewrite(audit, **changes):
    """Write record and document anew, so that both agree and every digest is right."""
    record = read_record(audit).model_copy(update=changes)
    (audit / sarif.FILE).write_text(sarif.document({"runs": [{"properties": sarif.facts(record)}]}))
    files = [entry for entry in file_records(audit) if entry.path != "space.json"]
    (audit / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())


def test_a_verdict_that_does_not_follow_from_its_rules_is_found_though_both_documents_agree(audit):
    failing = GateRecord(score="retain_kl", rule="retain_kl ≤ 0.1", verdict="fail", reason="0.25")
    for gates in ([failing], []):
        rewrite(audit, gates=gates)
        assert failed(audit) == {"verdict": "not as recorded: verdict"}
    rewrite(audit, gates=[failing], verdict="fail")
    assert not failed(audit)


def test_rules_that_do_not_follow_from_the_scores_are_found(audit):
    policy, digest = open_policy("default", known=every_score())
    scores = read_record(audit).scores
    verdict, gates = judge(policy, scores, {})
    rewrite(audit, space_version=__version__, policy="default", policy_sha256=digest, gates=gates, verdict=verdict)
    assert verdict == "inconclusive"
    assert not failed(audit)
    met = [gate.model_copy(update={"verdict": "pass"}) for gate in gates]
    for forged in (met, met[:1]):
        rewrite(audit, gates=forged, verdict="pass")
        assert "not as recorded" in failed(audit)["verdict"]
    with pytest.raises(ArtifactFault, match="was altered: verdict"):
        refuse_altered(audit, read_record(audit))
