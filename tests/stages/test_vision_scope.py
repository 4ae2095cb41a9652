"""Erasing in the vision tower, on disk: what is written, how it goes back, and what may follow it."""

import shutil

from types import SimpleNamespace

import pytest
import torch

from fakes import Table, knowing
from safetensors.torch import load_file

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import render
from space_cli.core.errors import ArtifactFault
from space_cli.core.protocols import Silent
from space_cli.core.recipe import AuditRequest, Concept, EraseRequest
from space_cli.core.types import Anchor, Item, Prompt
from space_cli.io.artifact import file_records
from space_cli.io.history import open_history
from space_cli.io.images import content_hash
from space_cli.io.kept import KEPT
from space_cli.io.model import open_model
from space_cli.stages import audit as audit_stage
from space_cli.stages.erase import erase, plan
from space_cli.stages.revert import revert
from space_cli.stages.verify import verify

OWL, CAT = Concept(name="owl", kind="animal"), Concept(name="cat", kind="animal")
ROLES = ("forget", "forget", "holdout", "neighbour", "neighbour", "general", "general", "general")
SHOWN = ("dog", "lion", "penguin", "crab", "turtle", "bus", "apple", "castle")
TINY = {
    "steps": 2, "least": 2, "check": 2, "refresh": 2, "refresh_rows": 1, "harden_steps": 2, "fresh_steps": 2,
    "batch": 2, "retain_batch": 2, "rehearsals": 0, "repairs": 0, "widenings": 0,
}  # fmt: skip


class Rig:
    """Tiny erasures on eight drawings."""

    def __init__(self, place):
        self.place, self.asked = place, OWL

    def request(self, concept, model, scope, method):
        trained = (
            {"options": TINY} if method == "dcsi" else {"options": {"steps": 1}, "forget_images": str(self.images)}
        )
        return EraseRequest(
            concept=concept, model=str(self.place / model), anchors=str(self.place / "anchors"), method=method,
            scope=scope, max_retain_kl=9, max_neighbour_loss=1, **trained,
        )  # fmt: skip

    def erase(self, concept, model, name, scope, method="ga"):
        self.asked = concept
        return erase(self.request(concept, model, scope, method), self.place / name, progress=Silent())

    @property
    def images(self):
        return self.place / "images"

    def anchors(self, folder):
        manifest = SimpleNamespace(request=SimpleNamespace(concept=self.asked, model="base"))
        found = []
        for path, role in zip(sorted(self.place.glob("pool/*.png")), ROLES, strict=True):
            found.append(
                Anchor(Item(content_hash(path.read_bytes()), str(path.parent), path.name, 96, 96), role, 0.3, None)
            )
        return manifest, found


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """The owl erased from the bundled checkpoint inside its tower by `dcsi`, and behind it by `ga`."""
    made = Rig(tmp_path_factory.mktemp("vision"))
    shutil.copytree(checkpoint_folder(), made.place / "base")
    for folder in ("images", "pool", "anchors"):
        (made.place / folder).mkdir()
    render(find("owl").symbol, "colour", 4_800_000).save(made.images / "0.png")
    (made.place / "anchors" / "anchors.parquet").write_bytes(b"anchors")
    for row, name in enumerate(SHOWN):
        render(find(name).symbol, "colour", 4_900_000 + row).save(made.place / "pool" / f"{row}.png")
    patch = pytest.MonkeyPatch()
    patch.setattr("space_cli.stages.erase.open_anchors", made.anchors)
    made.receipt = made.erase(OWL, "base", "inside", "vision", "dcsi")
    made.other = made.erase(OWL, "base", "behind", "mlp")
    yield made
    patch.undo()


@pytest.mark.slow
def test_exactly_the_listed_tensors_change_and_that_is_proved(rig):
    layers = [f"vision_tower.encoder.layers.{n}.mlp.fc{i}.weight" for n in (3, 4) for i in (1, 2)]
    listed = {*layers, "multi_modal_projector.linear_2.weight"}
    assert {layer.parameter for layer in rig.receipt.layers} == listed
    assert set(plan(rig.request(OWL, "base", "vision", "dcsi"))["layers"]) == listed
    before, after = (load_file(rig.place / name / "model.safetensors") for name in ("base", "inside"))
    assert {name for name in before if not torch.equal(before[name], after[name])} == listed
    assert [check for check in verify(rig.place / "inside") if not check.passed] == []
    revert(rig.place / "inside", rig.place / "back", progress=Silent())
    assert file_records(rig.place / "back") == file_records(rig.place / "base")


@pytest.mark.slow
def test_the_erased_checkpoint_is_read_through_its_own_tower(rig):
    base, erased = (open_model(rig.place / name, device="cpu") for name in ("base", "inside"))
    images = [render(find("owl").symbol, "colour", 3_600_000)]
    inside, pixels = erased.upstream("vision"), erased._processor(images=images, return_tensors="pt")["pixel_values"]
    batch = inside.batch([Prompt("What is this?", "This is an owl.", 0)])
    whole = erased.model(input_ids=batch.ids, pixel_values=pixels, attention_mask=batch.mask).logits
    torch.testing.assert_close(inside._head(inside.read(batch, inside.features(images))), whole, rtol=1e-4, atol=1e-4)
    assert torch.equal(inside.features(images), base.upstream("vision").features(images))
    assert not torch.equal(erased.features(images), base.features(images))


@pytest.mark.slow
def test_a_second_request_inside_the_tower_is_given_the_first_ones_anchors(rig):
    receipt = rig.erase(CAT, "inside", "twice", "vision")
    past, _ = open_history(rig.place / "twice", receipt, [])
    assert past.earlier[0].anchors.shape == (2, 37, 192)
    assert set(load_file(rig.place / "twice" / KEPT)) == {"features_3"}
    assert set(load_file(rig.place / "behind" / KEPT)) == {"features"}
    assert [check for check in verify(rig.place / "twice") if not check.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize(("model", "scope"), [("inside", "mlp"), ("behind", "vision")])
def test_a_request_inside_the_tower_and_one_behind_it_do_not_mix(rig, monkeypatch, model, scope):
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(ArtifactFault, match="holds anchors of another scope") as fault:
        rig.erase(CAT, model, f"{model}-{scope}", scope)
    assert fault.value.exit_code == 4
    assert "--scope vision" in fault.value.hint


@pytest.mark.slow
def test_an_audit_reads_upstream_of_what_either_erasure_changed(rig, tmp_path, monkeypatch):
    asked = []

    class Asked(Table):
        def upstream(self, *scopes):
            asked.append(scopes)
            return self

    monkeypatch.setattr(audit_stage, "open_model", lambda place, *, device: Asked(knowing()))
    known = {"metrics": ("text_knowledge",), "baseline": str(rig.place / "behind")}
    audit_stage.audit(AuditRequest(erased=str(rig.place / "inside"), **known), tmp_path / "audit", progress=Silent())
    assert asked == [("vision", "mlp")] * 3
