"""Records of an audit for the tests of its documents."""

from fakes import picture

from space_cli.core.recipe import AuditRequest, Concept, EraseRequest
from space_cli.core.records import (
    AuditReport,
    ErasureReceipt,
    FileRecord,
    GateRecord,
    LayerReceipt,
    Run,
    ScoreRecord,
    Source,
)
from space_cli.reports.html import Evidence, Sample

HOSTILE = """"><script>alert('x')</script><img src=x onerror=alert(1)> & {n} 🐼 '\u202eadnap"""
DIGEST = "ab" * 32


def score(after=0.1, **more):
    given = {"before": 0.9, "after": after, "low": 0.05, "high": 0.2, "n": 20, "better": "lower"}
    return ScoreRecord(**(given | more))


def report(name="panda", verdict="pass", **more):
    given = {
        "space_version": "0.1.0",
        "seed": 5,
        "inputs": [Source(kind="erased", path=f"/tmp/{name}", sha256=DIGEST)],
        "files": [],
        "run": Run(created="2031-01-01T00:00:00+00:00", seconds=12.5, host={"machine": "secret-host"}),
        "request": AuditRequest(erased="/tmp/erased"),
        "concept": Concept(name=name),
        "verdict": verdict,
        "scores": {"forget_accuracy": score(note=name), "fluency": score(3.0, high=4.0, unit="perplexity")},
        "skipped": {"elicitation": f"because of {name}"},
        "gates": [GateRecord(score="forget_accuracy", rule="forget_accuracy ≤ 0.1", verdict=verdict, reason=name)],
        "policy": "default",
        "policy_sha256": "cd" * 32,
        "seconds": {"forget_accuracy": 33.25},
    }
    return AuditReport(**(given | more))


def file(path, byte="34"):
    return FileRecord(path=path, sha256=byte * 32, bytes=1)


def evidence(name="panda", training=(), samples=None):
    layer = LayerReceipt(
        layer="a",
        parameter=name,
        rank=4,
        relative_change=0.125,
        leak=0.001,
        leak_rounded=0.002,
        retained_energy=0.01,
    )
    receipt = ErasureReceipt(
        space_version="0.1.0",
        seed=5,
        inputs=[Source(kind="checkpoint", path=f"/base/{name}", sha256="ef" * 32)],
        files=[file("model.safetensors"), file("space/edits.safetensors"), file("config.json")],
        run=Run(created="2031-01-01T00:00:00+00:00", seconds=12.5),
        request=EraseRequest(concept=Concept(name="panda"), model=name, anchors="a"),
        dtype="F16",
        layers=[layer],
        steps=60,
        stopped="steps",
        signals={},
        base_files=[file("model.safetensors", "12"), file("config.json")],
    )
    if samples is None:
        samples = [Sample("forget", name, "p.png", f"What? {name}", name, name, picture("panda"))]
    return Evidence(samples, training, receipt)
