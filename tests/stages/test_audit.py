import html
import json

import pytest
import torch

from auditing import QUICK, material, run
from fakes import NAMES

from space_cli.core.errors import ArtifactFault, NetworkFault, UsageFault
from space_cli.core.examining import UNORDERED
from space_cli.core.recipe import AuditRequest
from space_cli.io.artifact import open_artifact
from space_cli.reports._folder import FORMATS
from space_cli.stages import audit as stage
from space_cli.stages.verify import verify

NEAR = ("neighbour_accuracy", "worst_neighbour")


def test_the_whole_audit_of_a_good_erasure_passes(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images))
    assert report.verdict == "pass", report.gates
    assert report.skipped == {}
    assert set(report.scores) == set(report.seconds) == set(QUICK)
    assert report.scores["forget_accuracy"].before == pytest.approx(1.0)
    assert report.scores["forget_accuracy"].after == pytest.approx(0.0)
    assert report.scores["neighbour_accuracy"].note == "nearest first: bear, koala, bus, car, rose"
    assert report.scores["worst_neighbour"].note == "“bear”, of 5 neighbours the one that kept least"
    assert not [gate for gate in report.gates if gate.score.startswith("attack_")]
    assert "attack_images ≤ 0.1" in report.passed_over
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
    policy = tmp_path / "mine.toml"
    policy.write_text('name = "mine"\n[[rule]]\nscore = "forget_accuracy"\nat_least = 0.5\n')
    report = run(erased, tmp_path / "audit", images=str(images), policy=str(policy))
    assert (report.verdict, report.policy) == ("fail", "mine")
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
    monkeypatch.setattr(stage, "open_material", lambda receipt, *, seed, places=None: material(pool=False))
    report = run(erased, tmp_path / "other", images=str(images), metrics=("efficacy",))
    assert report.skipped == {"efficacy": "needs `used`: the pool is gone"}


def test_where_names_are_in_order_of_nearness_no_note_says_otherwise(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("forget_choice_accuracy",))
    assert UNORDERED not in report.scores["forget_choice_accuracy"].note


def test_without_the_pool_neighbours_are_skipped_with_the_reason(erased, images, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "open_material", lambda receipt, *, seed, places=None: material(pool=False))
    report = run(erased, tmp_path / "audit", images=str(images))
    assert report.skipped == dict.fromkeys(NEAR, "needs `neighbours`: the pool is gone")
    assert report.scores["forget_choice_accuracy"].before == pytest.approx(1.0)


def test_without_the_encoder_neighbours_are_skipped_with_the_reason(erased, images, tmp_path, monkeypatch):
    def absent(pool, phrases, device):
        raise NetworkFault("offline and not cached")

    monkeypatch.setattr(stage, "_text_embeddings", absent)
    report = run(erased, tmp_path / "audit", images=str(images))
    why = "needs `neighbours`: the pool's encoder is not at hand: offline and not cached"
    assert report.skipped == dict.fromkeys(NEAR, why)
    # What is left of it goes by the alphabet, and says so.
    assert report.scores["forget_choice_accuracy"].note.endswith(UNORDERED)
    assert UNORDERED not in report.scores["forget_accuracy"].note


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


def test_an_existing_report_is_kept(erased, tmp_path):
    run(erased, tmp_path / "audit", metrics=("text_knowledge",))
    with pytest.raises(UsageFault, match="exists already"):
        run(erased, tmp_path / "audit", metrics=("text_knowledge",))


def test_a_budget_that_was_changed_is_used_and_told_everywhere(erased, images, tmp_path):
    asked = {"images": str(images), "metrics": ("retain_accuracy",)}
    plain = run(erased, tmp_path / "plain", **asked)
    report = run(erased, tmp_path / "audit", **asked, budgets={"retain_accuracy": {"phrasings": 5}})
    assert report.scores["retain_accuracy"].n == plain.scores["retain_accuracy"].n, "images, however often asked about"
    for file in ("report.html", "model-card.md", "summary.md", "junit.xml", "bom.cdx.json"):
        for place, told in (("audit", True), ("plain", False)):
            assert ("retain_accuracy.phrasings = 5" in unescaped(tmp_path / place / file)) == told
    for place, told in (("audit", {"retain_accuracy": {"phrasings": 5}}), ("plain", {})):
        (policy, *_) = json.loads((tmp_path / place / "attestation.intoto.json").read_text())["predicate"][
            "configuration"
        ]
        assert policy["annotations"]["budgets"] == told
    assert [check for check in verify(tmp_path / "audit") if not check.passed] == []
    record = tmp_path / "audit" / "space.json"
    record.write_text(
        record.read_text().replace('"phrasings":5', '"phrasings":2').replace('"phrasings": 5', '"phrasings": 2')
    )
    assert [check.name for check in verify(tmp_path / "audit") if not check.passed] == ["record and audit.sarif"]


def unescaped(path):
    return html.unescape(path.read_text()).replace("\\", "")


def test_a_budget_of_what_is_not_run_is_refused(erased, tmp_path):
    with pytest.raises(UsageFault, match="about nothing that this audit runs"):
        run(erased, tmp_path / "audit", metrics=("retain_accuracy",), budgets={"relearn": {"rank": 4}})
    assert not (tmp_path / "audit").exists()


def test_a_base_that_moved_is_audited_where_it_is_said_to_be(erased, images, tmp_path, monkeypatch):
    opened = stage.open_model
    monkeypatch.setattr(
        stage,
        "open_model",
        lambda place, *, device: opened(tmp_path / "base" if place.name == "moved" else place, device=device),
    )
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(ArtifactFault, match="was erased from is gone") as fault:
        run(erased, tmp_path / "audit", images=str(images))
    assert "--input checkpoint=DIR" in fault.value.hint
    report = run(erased, tmp_path / "audit", images=str(images), inputs={"checkpoint": str(tmp_path / "moved")})
    assert report.scores["forget_accuracy"].before == 1.0
    next((tmp_path / "moved").glob("*.safetensors")).write_bytes(b"other")
    with pytest.raises(ArtifactFault) as fault:
        run(erased, tmp_path / "again", images=str(images), inputs={"checkpoint": str(tmp_path / "moved")})
    assert fault.value.exit_code == 4


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


def test_texts_are_embedded_by_the_pools_encoder_with_every_template(monkeypatch):
    asked = []

    class Encoder:
        def texts(self, texts):
            asked.extend(texts)
            return torch.tensor([[3.0, 0.0] if "panda" in text else [0.0, 2.0] for text in texts])

    pool = material().pool
    monkeypatch.setattr(stage, "open_encoder", lambda *of: Encoder() if of == (pool, "cpu") else None)
    found = stage._text_embeddings(pool, ["a panda", "a bus"], "cpu")
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert {"a panda", "a photo of a panda", "a photo of a bus"} <= set(asked)
