"""Finished folders without weights, as the stages would leave them."""

from pathlib import Path

from space_cli import __version__
from space_cli.core.recipe import AuditRequest, Concept, EraseRequest, IndexRequest, SelectRequest
from space_cli.core.records import (
    AnchorsManifest,
    AuditReport,
    ErasureReceipt,
    GateRecord,
    LayerReceipt,
    PoolManifest,
    Run,
    ScoreRecord,
)
from space_cli.io.artifact import file_records, read_record, source_of
from space_cli.reports import sarif


def written(folder: Path, record):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.json").write_text(record.model_dump_json(), encoding="utf-8")
    return record


def common(inputs, seconds: float, created: str = "2026-01-01T00:00:00+00:00") -> dict:
    return {
        "space_version": __version__,
        "seed": 0,
        "inputs": inputs,
        "files": [],
        "run": Run(created=created, seconds=seconds),
    }


def make_model(folder: Path, content: str = "weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(content, encoding="utf-8")
    return folder


def make_pool(folder: Path, *, seconds: float = 1.0, images: int = 3) -> PoolManifest:
    request = IndexRequest(sources=("/images",), encoder="some/clip")
    record = PoolManifest(
        **common([], seconds), request=request, images=images, errors=0, width=8, encoder_sha256="0" * 64
    )
    return written(folder, record)


def make_anchors(folder: Path, pool: Path, *, model: Path | None = None, concept: Concept | None = None, **request):
    inputs = [source_of(pool, "pool")]
    if model is not None:
        inputs.append(source_of(model, "checkpoint"))
    asked = SelectRequest(
        concept=concept or Concept(name="panda"),
        pool=str(pool),
        model=str(model) if model else None,
        **request,
    )
    record = AnchorsManifest(
        **common(inputs, 2.0),
        request=asked,
        floor=0.2,
        top_similarity=0.4,
        roles={"forget": 8, "general": 4},
        leaks=0,
        activation_rate=None,
        activation_reference=None,
        leverage=[],
    )
    return written(folder, record)


def make_erased(folder: Path, anchors: Path, *, name: str = "panda") -> ErasureReceipt:
    layer = LayerReceipt(
        layer="layers.0",
        parameter="layers.0.weight",
        rank=4,
        relative_change=0.25,
        leak=1e-6,
        leak_rounded=2e-3,
        retained_energy=0.5,
    )
    record = ErasureReceipt(
        **common([source_of(anchors, "anchors")], 4.0),
        request=EraseRequest(concept=Concept(name=name), model="/model", anchors=str(anchors)),
        dtype="float32",
        layers=[layer],
        steps=40,
        stopped="converged",
        signals={"name_nll": 9.5},
        base_files=[],
    )
    return written(folder, record)


def make_audit(
    folder: Path, erased: Path, *, verdict: str = "pass", name: str = "panda", after: float = 0.01
) -> AuditReport:
    score = ScoreRecord(before=0.95, after=after, low=0.0, high=0.03, n=120, better="lower")
    gate = GateRecord(score="forget_accuracy", rule="high <= 0.1", verdict=verdict, reason="0.03 against 0.1")
    record = AuditReport(
        **common([source_of(erased, "erased")], 8.0),
        request=AuditRequest(erased=str(erased)),
        concept=Concept(name=name),
        verdict=verdict,
        scores={"forget_accuracy": score},
        skipped={"elicitation": "no held-out anchors"},
        gates=[gate],
        policy="default",
        policy_sha256="0" * 64,
        seconds={},
    )
    return sealed(folder, record)


def sealed(folder: Path, record: AuditReport) -> AuditReport:
    """Write the record, with its document and every other file of the folder in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / sarif.FILE).write_text(sarif.render(record, read_record(Path(record.request.erased))))
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    return written(folder, record.model_copy(update={"files": files}))


def make_chain(workspace: Path, **audit) -> AuditReport:
    make_pool(workspace / "pool")
    make_anchors(workspace / "anchors", workspace / "pool")
    make_erased(workspace / "erased", workspace / "anchors")
    return make_audit(workspace / "audit", workspace / "erased", **audit)
