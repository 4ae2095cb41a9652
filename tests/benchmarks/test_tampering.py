"""The tampering benchmark: every kind that exists is tried, what is not there is said, and misses are counted."""

import pytest

from benchmarks import tampering
from space_cli.core.recipe import AuditRequest, Concept, IndexRequest
from space_cli.core.records import AuditReport, FileRecord, PoolManifest, Run, ScoreRecord
from space_cli.io.artifact import new_artifact, source_of
from space_cli.reports import sarif

FACTS = {"space_version": "0", "seed": 0}


@pytest.fixture
def folders(tmp_path):
    """Two folders that verify: one with a shard, and an audit of it."""
    with new_artifact(tmp_path / "erased", "", overwrite=False) as draft:
        (draft.path / "model.safetensors").write_bytes(bytes(200))
        (draft.path / "space").mkdir()
        (draft.path / "space" / "ledger.jsonl").write_text("one\ntwo\nthree\n")
        request = IndexRequest(sources=("x",), encoder="e")
        more = {"images": 1, "errors": 0, "width": 1, "encoder_sha256": ""}
        draft.finish(PoolManifest(**FACTS, inputs=[], files=draft.files(), run=draft.run(), request=request, **more))
    with new_artifact(tmp_path / "audit", "", overwrite=False) as draft:
        report = AuditReport(
            **FACTS,
            inputs=[source_of(tmp_path / "erased", "erased")],
            files=[FileRecord(path="x", sha256="", bytes=0)],
            run=Run(created="", seconds=0),
            request=AuditRequest(erased="x"),
            concept=Concept(name="owl"),
            verdict="inconclusive",
            scores={"retain_kl": ScoreRecord(before=0.5, after=0.25, low=0.125, high=0.5, n=9, better="lower")},
            skipped={},
            gates=[],
            policy="p",
            policy_sha256="",
            seconds={},
        )
        told = {"runs": [{"properties": sarif.facts(report)}]}
        (draft.path / sarif.FILE).write_text(sarif.document(told))
        draft.finish(report.model_copy(update={"files": draft.files()}))
    return tmp_path / "erased", tmp_path / "audit"


def test_every_kind_is_tried_in_turn_and_found(folders):
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    result = tampering.measure(*folders, 16, 0)
    assert (result["tried"], result["found"], result["not_there"]) == (16, 16, [])
    assert {kind: told["tried"] for kind, told in result["kinds"].items()} == dict.fromkeys(result["kinds"], 4)
    assert set(result["kinds"]["one edited score"]["checks"]) == {"record and audit.sarif"}
    unlinked = result["kinds"]["one input of the audit, removed or renamed"]["checks"]
    assert set(unlinked) == {"record and audit.sarif", "input erased"}
    assert set(result["kinds"]["one removed ledger line"]["checks"]) == {"erased: file space/ledger.jsonl"}
    changes = {kind: [row["what"] for row in result["rows"] if row["kind"] == kind] for kind in result["kinds"]}
    assert {kind: told["distinct"] for kind, told in result["kinds"].items()} == {
        kind: len(set(each)) for kind, each in changes.items()
    }
    assert sum(len(set(each)) for each in changes.values()) > 8
    assert {path: path.read_bytes() for path in before} == before
    assert tampering.measure(*folders, 16, 0)["rows"] == result["rows"]


def test_what_is_not_there_is_skipped_and_said(folders, tmp_path):
    assert tampering.kinds_of(tmp_path, folders[1])["one removed ledger line"] is None
    result = {
        "found": 1,
        "tried": 1,
        "kinds": {},
        "not_there": ["one removed ledger line"],
        "command": "c",
        "commit": "d",
    }
    page = tampering.page(result | {"seconds": 1.0, "machine": {"cores": 2}})
    assert "Not tried, because there is none: one removed ledger line." in page


def test_a_miss_is_counted_and_fails_the_benchmark(folders, tmp_path, monkeypatch):
    calls = iter([(0, []), (4, ["x"]), (0, []), (0, [])])
    monkeypatch.setattr(tampering, "_verify", lambda folder: next(calls))
    result = tampering.measure(*folders, 2, 0)
    assert (result["tried"], result["found"]) == (2, 1)
    monkeypatch.setattr(tampering, "_verify", lambda folder: (4, []))
    with pytest.raises(RuntimeError, match="do not verify"):
        tampering.measure(*folders, 1, 0)
    (tmp_path / "work").mkdir()
    for folder in folders:
        folder.rename(tmp_path / "work" / folder.name)
    monkeypatch.setattr(tampering, "measure", lambda *given: result | {"kinds": {}})
    assert tampering.main(["--workspace", str(tmp_path / "work"), "--out", str(tmp_path)]) == 1
    assert (tmp_path / "tampering.json").is_file()
