import json

import numpy as np
import pytest
import torch

from erased_folder import PANDA, make_base, make_edits, make_erased
from fakes import NAMES, Table, knowing, picture, ranking

from space_cli.core import registry
from space_cli.core.errors import ArtifactFault, NetworkFault, UsageFault
from space_cli.core.protocols import Silent
from space_cli.core.recipe import AuditRequest, Concept, IndexRequest
from space_cli.core.records import PoolManifest, Run, ScoreRecord
from space_cli.io.artifact import file_records, open_artifact
from space_cli.io.probe import Material
from space_cli.metrics import elicitation, fluency
from space_cli.reports._folder import FORMATS
from space_cli.stages import audit as stage
from space_cli.stages.verify import verify

BY_DEFAULT = {
    name.replace("-", "_")
    for name in registry.names("metrics")
    if getattr(registry.load("metrics", name), "DEFAULT", True)
}
# Its attack needs gradients through a language model, which a table of answers has not.
QUICK = tuple(sorted(BY_DEFAULT - {"elicitation"}))


@pytest.fixture
def erased(tmp_path, monkeypatch):
    """An erased folder whose base knows everything, and which has forgotten the panda."""
    base = make_base(tmp_path / "base", torch.float32)
    folder = make_erased(tmp_path / "erased", base, edits=make_edits())
    (folder / "space").mkdir(exist_ok=True)
    tables = {
        base: Table(knowing(), ranking()),
        folder: Table(knowing("panda"), ranking("panda"), shift=0.05),
    }
    monkeypatch.setattr(stage, "open_model", lambda place, *, device: tables[place])
    monkeypatch.setattr(stage, "open_material", lambda receipt, *, seed: material())
    monkeypatch.setattr(stage, "_text_embeddings", embeddings)
    return folder


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for view in range(12 if name == "panda" else 3):
            picture(name, view).save(folder / name / f"{view:02d}.png")
    (folder / "concepts.toml").write_text(
        '[panda]\nkind = "animal"\naliases = ["giant panda"]\nfacts = [["Where would you find a panda?", "the wild"]]\n'
    )
    return folder


def material(*, pool=True):
    request = IndexRequest(sources=("x",), encoder="e")
    facts = {"space_version": "0", "seed": 0, "inputs": [], "files": [], "run": Run(created="", seconds=0)}
    manifest = PoolManifest(**facts, request=request, images=1, errors=0, width=2, encoder_sha256="0")
    views = [picture("rose", view) for view in range(4)]
    used = [picture("panda", 90 + view) for view in range(3)]
    gone = "the pool is gone"
    return Material(views[:2], views, manifest, used=used) if pool else Material([], [], None, gone, unused=gone)


def embeddings(pool, phrases, device):
    """Place names on a circle in the order of `NAMES`, so that bear and koala are nearest to the panda."""
    angles = np.array([NAMES.index(phrase.split()[-1]) / len(NAMES) for phrase in phrases])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def run(erased, out, **more):
    request = AuditRequest(**({"erased": str(erased), "metrics": QUICK} | more))
    return stage.audit(request, out, progress=Silent())


def test_the_whole_audit_of_a_good_erasure_passes(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images))
    assert report.verdict == "pass", report.gates
    assert report.skipped == {}
    assert set(report.scores) == set(report.seconds) == set(QUICK)
    assert report.scores["forget_accuracy"].before == pytest.approx(1.0)
    assert report.scores["forget_accuracy"].after == pytest.approx(0.0)
    assert report.scores["neighbour_accuracy"].note == "nearest first: bear, koala, bus, car, rose"
    assert report.concept.aliases == ("giant panda",)
    assert open_artifact(tmp_path / "audit", "audit") == report


def test_the_folder_holds_samples_and_page(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images))
    assert {entry.path for entry in report.files} == {"report.html", "samples.jsonl", *(form.FILE for form in FORMATS)}
    rows = [json.loads(line) for line in (tmp_path / "audit" / "samples.jsonl").read_text().splitlines()]
    assert [row["role"] for row in rows].count("forget") == 12
    assert {row["role"] for row in rows} == {"forget", "neighbour", "retain"}
    first = next(row for row in rows if row["role"] == "forget")
    assert (first["before"], first["after"]) == ("This is a panda.", "This is something.")
    assert first["path"].endswith("panda/00.png")
    page = (tmp_path / "audit" / "report.html").read_text()
    assert "This is something." in page
    assert page.count("data:image/jpeg") == 12 + 6 + 6


def test_equal_audits_write_equal_documents(erased, images, tmp_path):
    first, second = (run(erased, tmp_path / name, images=str(images)) for name in ("one", "two"))
    assert first.files == second.files
    assert first.scores == second.scores


def test_a_failed_audit_is_written_all_the_same(erased, images, tmp_path):
    policy = tmp_path / "strict.toml"
    policy.write_text('name = "strict"\n[[rule]]\nscore = "forget_accuracy"\nat_least = 0.5\n')
    report = run(erased, tmp_path / "audit", images=str(images), policy=str(policy))
    assert (report.verdict, report.policy) == ("fail", "strict")
    assert "Suppression tested under policy" in (tmp_path / "audit" / "report.html").read_text()


def test_without_images_only_source_free_metrics_run(erased, tmp_path):
    report = run(erased, tmp_path / "audit")
    assert report.verdict == "inconclusive"
    assert report.skipped["forget_accuracy"] == "needs `forget`: no folder of images was given"
    assert {"text_knowledge", "retain_kl", "fluency"} <= set(report.scores)
    assert report.scores["text_knowledge"].n == 2
    assert [source.kind for source in report.inputs] == ["erased"]


def test_efficacy_asks_about_what_erasing_used(erased, images, tmp_path, monkeypatch):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("efficacy",))
    assert (report.scores["efficacy"].before, report.scores["efficacy"].after) == (0.0, 1.0)
    monkeypatch.setattr(stage, "open_material", lambda receipt, *, seed: material(pool=False))
    report = run(erased, tmp_path / "other", images=str(images), metrics=("efficacy",))
    assert report.skipped == {"efficacy": "needs `used`: the pool is gone"}


def test_without_the_pool_neighbours_are_skipped_with_the_reason(erased, images, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "open_material", lambda receipt, *, seed: material(pool=False))
    report = run(erased, tmp_path / "audit", images=str(images))
    assert report.skipped == {"neighbour_accuracy": "needs `neighbours`: the pool is gone"}
    assert report.scores["forget_choice_accuracy"].before == pytest.approx(1.0)


def test_without_the_encoder_neighbours_are_skipped_with_the_reason(erased, images, tmp_path, monkeypatch):
    def absent(pool, phrases, device):
        raise NetworkFault("offline and not cached")

    monkeypatch.setattr(stage, "_text_embeddings", absent)
    report = run(erased, tmp_path / "audit", images=str(images))
    assert report.skipped == {
        "neighbour_accuracy": "needs `neighbours`: the pool's encoder is not at hand: offline and not cached"
    }


def test_a_folder_without_the_concept_is_refused_with_what_it_holds(erased, images, tmp_path):
    (images / "panda").rename(images / "cat")
    with pytest.raises(UsageFault, match="sub-folders are `bear`, `bus`, `car`, `cat`"):
        run(erased, tmp_path / "audit", images=str(images))
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("name", ["PANDA", "Giant_Panda", "giant-panda"])
def test_the_concepts_folder_is_found_by_any_spelling_and_alias(erased, images, tmp_path, name):
    (images / "panda").rename(images / name)
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("forget_accuracy",))
    assert report.scores["forget_accuracy"].n == 12
    # The same pictures are not among those of other concepts.
    rows = [json.loads(line) for line in (tmp_path / "audit" / "samples.jsonl").read_text().splitlines()]
    assert {row["name"] for row in rows if row["role"] != "forget"} == set(NAMES[1:])


def test_more_names_join_the_forced_choice(erased, images, tmp_path):
    report = run(
        erased,
        tmp_path / "audit",
        images=str(images),
        names=("bear", "Panda"),
        metrics=("forget-choice-accuracy",),
    )
    assert "among 8 names" in report.scores["forget_choice_accuracy"].note


def test_only_the_metrics_asked_for_run_and_the_rest_is_no_evidence(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("kind_accuracy",), limit=2)
    assert set(report.scores) == {"kind_accuracy"}
    assert report.scores["kind_accuracy"].n == 2
    assert report.verdict == "inconclusive"


def test_an_unknown_metric_or_policy_is_refused_before_anything_is_read(erased, tmp_path):
    with pytest.raises(UsageFault, match="unknown metric"):
        run(erased, tmp_path / "audit", metrics=("beauty",))
    (tmp_path / "bad.toml").write_text('name = "x"\n[[rule]]\nscore = "beauty"\nat_most = 1\n')
    with pytest.raises(UsageFault, match="unknown score"):
        run(erased, tmp_path / "audit", policy=str(tmp_path / "bad.toml"))


def test_an_existing_report_is_kept(erased, tmp_path):
    run(erased, tmp_path / "audit", metrics=("text_knowledge",))
    with pytest.raises(UsageFault, match="exists already"):
        run(erased, tmp_path / "audit", metrics=("text_knowledge",))


def test_a_base_that_changed_is_refused(erased, images, tmp_path):
    base = tmp_path / "base" / "config.json"
    base.write_text(base.read_text() + " ")
    with pytest.raises(ArtifactFault, match="altered"):
        run(erased, tmp_path / "audit", images=str(images))


def test_the_training_of_the_erasure_is_drawn(erased, images, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "open_training", lambda folder: [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}])
    run(erased, tmp_path / "audit", images=str(images), metrics=("kind_accuracy",))
    assert "loss from 2 at step 1 to 1 at step 2" in (tmp_path / "audit" / "report.html").read_text()


def test_a_name_no_answer_could_hold_is_refused(erased, images, tmp_path):
    (images / "concepts.toml").write_text('[panda]\naliases = ["..."]\n')
    with pytest.raises(UsageFault, match="no letter"):
        run(erased, tmp_path / "audit", images=str(images))


def test_plan_reads_no_weight_and_no_picture(erased, images, monkeypatch):
    monkeypatch.delattr(stage, "open_model")
    monkeypatch.delattr(stage, "probe_images")
    found = stage.plan(AuditRequest(erased=str(erased), images=str(images)))
    assert found["concept"] == "panda"
    assert found["image_folders"] == sorted(NAMES)
    assert "forget_accuracy ≤ 0.1" in found["rules"]


def test_a_path_that_cannot_be_written_down_is_refused(erased, images, tmp_path):
    (images / "bus" / "00.png").rename(images / "bus" / "\udcff.png")
    with pytest.raises(UsageFault, match="not Unicode"):
        run(erased, tmp_path / "audit", images=str(images))


def test_texts_are_embedded_by_the_pools_encoder_with_every_template(monkeypatch, tmp_path):
    asked = []

    class Encoder:
        @staticmethod
        def load(folder, device):
            assert (folder, device) == (tmp_path, "cpu")
            return Encoder()

        def texts(self, texts):
            asked.extend(texts)
            return torch.tensor([[3.0, 0.0] if "panda" in text else [0.0, 2.0] for text in texts])

    class Opened:
        model_type = "clip"

    monkeypatch.setattr(stage, "resolve", lambda name, revision: tmp_path)
    monkeypatch.setattr(stage, "open_checkpoint", lambda folder: Opened())
    monkeypatch.setattr(registry, "load", lambda package, name: Encoder)
    found = stage._text_embeddings(material().pool, ["a panda", "a bus"], "cpu")
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert {"a panda", "a photo of a panda", "a photo of a bus"} <= set(asked)


EVERY = {name.replace("-", "_") for name in registry.names("metrics")}


@pytest.fixture
def optional(monkeypatch):
    """Make two more metrics run only when asked for, and none of these need a real checkpoint."""
    told = ScoreRecord(before=1.0, after=0.0, low=0.0, high=0.1, n=30, better="lower")
    for metric in (elicitation, fluency):
        monkeypatch.setattr(metric, "DEFAULT", False, raising=False)
    for name in EVERY - set(QUICK):
        monkeypatch.setattr(registry.load("metrics", name), "measure", lambda *asked: told)


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        ((), BY_DEFAULT - {"fluency", "elicitation"}),
        (("all",), EVERY),
        (("fluency", "all"), EVERY),
        (("fluency",), {"fluency"}),
    ],
)
def test_an_optional_metric_runs_only_when_it_is_named_or_all_are(erased, optional, tmp_path, asked, runs):
    report = run(erased, tmp_path / "audit", metrics=asked)
    assert {*report.scores, *report.skipped} == runs
    assert set(stage.plan(AuditRequest(erased=str(erased), metrics=asked))["metrics"]) == runs


@pytest.mark.parametrize(("policy", "verdict"), [("strict", "inconclusive"), ("report-only", "inconclusive")])
def test_a_shipped_policy_is_used_by_its_name(erased, images, tmp_path, policy, verdict):
    report = run(erased, tmp_path / "audit", images=str(images), policy=policy)
    assert (report.policy, report.verdict, report.request.policy) == (policy, verdict, policy)
    said = json.loads((tmp_path / "audit" / "attestation.intoto.json").read_text())
    assert said["predicate"]["result"] == "WARNED"


@pytest.fixture
def other(erased, tmp_path, monkeypatch):
    """Another erasure of the panda from the same base, which forgot nothing."""
    folder = make_erased(tmp_path / "other", tmp_path / "base", edits=make_edits(0.5))
    known, opened = Table(knowing(), ranking()), stage.open_model
    monkeypatch.setattr(
        stage, "open_model", lambda place, *, device: known if place == folder else opened(place, device=device)
    )
    return folder


def test_a_baseline_is_measured_beside_and_decides_nothing(erased, other, images, tmp_path):
    plain = run(erased, tmp_path / "plain", images=str(images))
    report = run(erased, tmp_path / "audit", images=str(images), baseline=str(other))
    assert plain.baseline == {}
    assert set(report.baseline) == set(report.scores)
    assert report.baseline["forget_accuracy"].after == pytest.approx(1.0)
    assert (report.scores, report.verdict, report.gates) == (plain.scores, plain.verdict, plain.gates)
    assert [source.kind for source in report.inputs] == ["erased", "images", "baseline"]
    assert "baseline, after" in (tmp_path / "audit" / "report.html").read_text()


def test_a_baseline_that_changed_since_is_found_by_verify(erased, other, tmp_path):
    run(erased, tmp_path / "audit", baseline=str(other), metrics=("text_knowledge",))
    assert {check.name: check.passed for check in verify(tmp_path / "audit")}["input baseline"]
    (other / "space.json").write_text((other / "space.json").read_text() + " ")
    assert not {check.name: check.passed for check in verify(tmp_path / "audit")}["input baseline"]


def test_a_baseline_of_another_base_is_refused(erased, tmp_path):
    base = make_base(tmp_path / "second", torch.float16)
    folder = make_erased(tmp_path / "other", base, edits=make_edits())
    with pytest.raises(ArtifactFault, match="made from another base: `model-0000") as refused:
        run(erased, tmp_path / "audit", baseline=str(folder))
    assert refused.value.exit_code == 4
    assert not (tmp_path / "audit").exists()
    with pytest.raises(ArtifactFault, match="another base"):
        stage.plan(AuditRequest(erased=str(erased), baseline=str(folder)))


def test_a_baseline_of_another_concept_is_refused(erased, other, tmp_path):
    record = other / "space.json"
    assert PANDA == Concept(name="panda")
    record.write_text(record.read_text().replace('"name": "panda"', '"name": "koala"'))
    with pytest.raises(ArtifactFault, match="has `koala` erased: `panda` is needed"):
        run(erased, tmp_path / "audit", baseline=str(other))


def test_a_baseline_that_was_altered_is_refused(erased, other, tmp_path):
    (other / "README.md").write_text("changed")
    with pytest.raises(ArtifactFault, match="was altered"):
        run(erased, tmp_path / "audit", baseline=str(other))


@pytest.fixture
def continued(erased, tmp_path, monkeypatch):
    """The bear erased after the panda; the layers that earlier edits are taken off are there."""
    folder = make_erased(tmp_path / "again", erased, edits=make_edits(0.5), concept=Concept(name="bear"))
    after, opened = Table(knowing("panda", "bear"), ranking("panda", "bear")), stage.open_model
    block = torch.nn.Module()
    block.layers = torch.nn.ModuleList(torch.nn.Module() for _ in range(2))
    for layer in block.layers:
        layer.down = torch.nn.Linear(6, 4)
    after.model = torch.nn.Module()
    after.model.model = block
    monkeypatch.setattr(
        stage, "open_model", lambda place, *, device: after if place == folder else opened(place, device=device)
    )
    return folder


def test_earlier_concepts_are_audited_again_and_are_no_knowledge_to_retain(continued, images, tmp_path):
    report = run(continued, tmp_path / "audit", images=str(images), metrics=(*QUICK, "rebound", "history"))
    assert {"rebound", "history"} <= set(stage.plan(AuditRequest(erased=str(continued)))["metrics"])
    assert {"rebound", "history"} <= {*report.scores}
    assert (report.scores["rebound"].after, report.scores["rebound"].n) == (0.0, 1)
    assert report.scores["history"].after == 1.0
    assert "1 of 1 concepts on images" in report.scores["history"].note
    assert report.scores["forget_accuracy"].after == 0.0
    assert report.scores["retain_accuracy"].before == 1.0, "pictures of the panda are not among the retained"
    assert "panda" not in report.scores["neighbour_accuracy"].note


def test_without_their_images_the_kept_anchors_of_earlier_concepts_are_asked(continued, tmp_path):
    report = run(continued, tmp_path / "audit", metrics=("rebound", "history"))
    assert "0 of 1 concepts on images" in report.scores["rebound"].note
    assert report.skipped == {}


def test_a_first_request_has_nothing_to_look_at_again(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("rebound", "history"))
    why = "needs `earlier`: this is the first request of its checkpoint"
    assert report.skipped == {"rebound": why, "history": why}
    assert "rebound" not in stage.plan(AuditRequest(erased=str(erased)))["metrics"]


def test_a_ledger_of_another_checkpoint_stops_an_audit(continued, other, images, tmp_path):
    ledger = continued / "space" / "ledger.jsonl"
    ledger.write_bytes((other / "space" / "ledger.jsonl").read_bytes())
    record = open_artifact(continued, "erased", verify=False)
    files = [entry for entry in file_records(continued) if entry.path != "space.json"]
    (continued / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())
    with pytest.raises(ArtifactFault, match="does not belong to this checkpoint") as fault:
        run(continued, tmp_path / "audit", images=str(images))
    assert fault.value.exit_code == 4
