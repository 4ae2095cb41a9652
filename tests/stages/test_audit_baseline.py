"""Another erasure beside the audited one."""

from dataclasses import replace

import pytest
import torch

from auditing import material, run
from erased_folder import PANDA, make_base, make_edits, make_erased
from fakes import picture

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.io import comparison
from space_cli.io.artifact import read_record
from space_cli.stages import audit as stage
from space_cli.stages.verify import verify


def test_a_baseline_is_measured_beside_and_decides_nothing(erased, other, images, tmp_path):
    plain = run(erased, tmp_path / "plain", images=str(images))
    report = run(erased, tmp_path / "audit", images=str(images), baseline=str(other))
    assert plain.baseline == {}
    assert set(report.baseline) == set(report.scores)
    assert report.baseline["forget_accuracy"].after == pytest.approx(1.0)
    parts = report.baseline["forget_accuracy"].parts
    assert parts["difference"] == pytest.approx(-1.0)
    assert parts["difference_low"] == -1.0 < parts["difference_high"] < -0.5
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
def trained(other):
    """The other erasure, as a method that trains on images of the concept would have left it."""
    record = read_record(other)
    request = record.request.model_copy(update={"forget_images": "/forget"})
    (other / "space.json").write_text(record.model_copy(update={"request": request}).model_dump_json())
    return other


def test_images_that_the_baseline_was_trained_on_are_refused(erased, trained, images, tmp_path, monkeypatch):
    picture("panda", 91).save(images / "panda" / "again.png")
    own = replace(material(), used=())  # the audited checkpoint was trained on other ones
    monkeypatch.setattr(stage, "open_material", lambda receipt, *, seed, places=None: own)
    monkeypatch.setattr(stage, "open_model", lambda place, *, device: pytest.fail("a checkpoint was asked"))
    with pytest.raises(UsageFault, match="1 of 13 images of the concept were given to the baseline's `erase`") as fault:
        run(erased, tmp_path / "audit", images=str(images), baseline=str(trained))
    assert fault.value.exit_code == 2
    assert not (tmp_path / "audit").exists()


def test_images_that_are_new_to_the_baseline_need_no_word(erased, trained, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), baseline=str(trained), metrics=("forget_accuracy",))
    assert report.skipped == {}
    assert "images" not in {gate.score for gate in report.gates}


def test_what_the_baseline_was_trained_on_and_is_gone_is_told_and_decides_nothing(
    erased, trained, images, tmp_path, monkeypatch
):
    plain = run(erased, tmp_path / "plain", images=str(images))
    monkeypatch.setattr(comparison, "open_material", lambda receipt, *, seed, places=None: material(pool=False))
    report = run(erased, tmp_path / "audit", images=str(images), baseline=str(trained))
    why = "what the baseline's `erase` was given cannot be compared: the pool is gone"
    assert report.skipped == plain.skipped | {"baseline_images": why}
    assert (report.verdict, report.gates) == (plain.verdict, plain.gates)
