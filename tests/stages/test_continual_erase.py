"""A second request on the bundled checkpoint: what it is given of the first, what it writes, and how it goes back."""

import shutil

from types import SimpleNamespace

import pytest
import subjects
import torch

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import render
from space_cli.core.asking import ask_each
from space_cli.core.continual import asked_at_first
from space_cli.core.earlier import Earlier
from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.isolation import drift_terms
from space_cli.core.linalg import energy
from space_cli.core.losses import token_kl
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Silent
from space_cli.core.recipe import Concept, EraseRequest
from space_cli.core.subspace import Subspace
from space_cli.core.types import Anchor, ErasedBefore, Item, Prompt
from space_cli.io.artifact import file_records
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.history import open_history, refuse_other_anchors
from space_cli.io.images import content_hash
from space_cli.io.ledger import LEDGER, read_ledger
from space_cli.io.model import open_model
from space_cli.io.subject import Aim, subject_of
from space_cli.stages.erase import erase
from space_cli.stages.revert import revert
from space_cli.stages.verify import verify

OWL, CAT = Concept(name="owl", kind="animal"), Concept(name="cat", kind="animal")


class Rig:
    """Erasures on anchors that are loaded already; keeps what each was given of earlier ones."""

    def __init__(self, place):
        self.place = place
        self.earlier = []

    def opened(self, folder, anchors, aim, *, device, progress, record, save, saved):
        self.earlier.append(aim.earlier)
        found = subjects.context(seed=aim.seed, max_change=aim.max_change)
        found.record = record
        found.forget = subjects.bundled().features(aim.images)
        found.earlier = tuple(Earlier(one.concept, one.features.to(found.features)) for one in aim.earlier)
        return found

    def erase(self, concept, model, name):
        request = EraseRequest(
            concept=concept, model=str(self.place / model), anchors=str(self.place / "anchors"), method="ga",
            options={"steps": 1}, forget_images=str(self.place / "images"), max_retain_kl=9, max_neighbour_loss=1,
        )  # fmt: skip
        self.asked = concept
        return erase(request, self.place / name, progress=Silent())


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """The owl erased from the bundled checkpoint, then the cat."""
    place = tmp_path_factory.mktemp("continual")
    shutil.copytree(checkpoint_folder(), place / "base")
    (place / "images").mkdir()
    render(find("owl").symbol, "colour", 4_800_000).save(place / "images" / "0.png")
    (place / "anchors").mkdir()
    (place / "anchors" / "anchors.parquet").write_bytes(b"anchors")
    made = Rig(place)
    patch = pytest.MonkeyPatch()

    def open_anchors(folder):
        return SimpleNamespace(request=SimpleNamespace(concept=made.asked, model="base")), []

    patch.setattr("space_cli.stages.erase.open_anchors", open_anchors)
    patch.setattr("space_cli.stages.erase.open_subject", made.opened)
    made.receipts = [made.erase(OWL, "base", "first"), made.erase(CAT, "first", "second")]
    yield made
    patch.undo()


@pytest.mark.slow
def test_the_second_request_is_given_what_the_first_erased(rig):
    first, second = rig.earlier
    assert first == []
    assert [one.concept for one in second] == [OWL]
    features = second[0].features
    assert features.shape == (subjects.COUNTS["forget"], *subjects.material()[1].shape[1:])
    # Hardened: the checkpoint of before names the owl in them, and not in the anchors they were pushed from.
    asked = ["What is this?"] * len(features)
    answers = [
        subjects.bundled().answer_features(one, asked)
        for one in (features.float(), subjects.material()[1][: len(features)])
    ]
    assert sum("owl" in answer for answer in answers[0]) > sum("owl" in answer for answer in answers[1])


@pytest.mark.slow
def test_the_receipts_carry_ledger_and_meter(rig):
    first, second = rig.receipts
    assert (first.requests, first.used, first.meter) == (1, None, "")
    assert second.requests == 2
    assert 0 < second.used <= 1
    assert all(0 <= layer.used <= 1 and layer.free > 0 for layer in second.layers)
    assert second.meter.startswith("2 requests have spent")
    told = {"history_on_anchors", "rebound_on_anchors"}
    assert told.isdisjoint(first.signals)
    assert all(0 <= second.signals[name] <= 1 for name in told)
    assert second.signals["rebound_on_anchors"] <= 1 - second.signals["history_on_anchors"]
    lines = read_ledger(rig.place / "second")
    assert [(line.number, line.concept) for line in lines] == [(1, OWL), (2, CAT)]
    assert second.ledger == lines[-1].hash
    assert [check for check in verify(rig.place / "second") if not check.passed] == []


@pytest.mark.slow
def test_reverting_the_second_gives_the_first_back(rig, tmp_path):
    revert(rig.place / "second", tmp_path / "back", progress=Silent())
    first = {entry.path: entry.sha256 for entry in file_records(rig.place / "first")}
    back = {entry.path: entry.sha256 for entry in file_records(tmp_path / "back")}
    assert set(first) - set(back) == {"space.json", "space/metrics.jsonl"} & set(first)
    assert back.items() <= first.items()


@pytest.mark.slow
def test_what_is_taken_off_leaves_the_checkpoint_after_the_first(rig):
    second, first = open_checkpoint(rig.place / "second"), open_checkpoint(rig.place / "first")
    past, rest = open_history(rig.place / "second", rig.receipts[1], [])
    (one,) = past.earlier
    assert (one.name, rest) == ("owl", [])
    assert one.anchors.shape[0] == subjects.COUNTS["forget"]
    for layer in rig.receipts[1].layers:
        left, right = one.undo[layer.layer]
        then = second.tensor(layer.parameter).float() + left @ right
        was = first.tensor(layer.parameter).float()
        assert torch.allclose(then, was, atol=2e-3)


@pytest.mark.slow
def test_the_checkpoint_before_the_first_request_is_asked_without_a_folder_of_it(rig):
    past, _ = open_history(rig.place / "second", rig.receipts[1], [])
    base, second = (open_model(rig.place / name, device="cpu") for name in ("base", "second"))
    images = [render(find(name).symbol, "colour", seed) for name in ("owl", "cat", "panda") for seed in (1, 2)]
    assert asked_at_first(second, images, AUDIT_OPEN[:2], past.undo) == ask_each(base, images, AUDIT_OPEN[:2])
    # One step of these erasures moves no answer, so the weights are compared as well.
    before, after = open_checkpoint(rig.place / "base"), open_checkpoint(rig.place / "second")
    layers = {layer.layer: layer.parameter for receipt in rig.receipts for layer in receipt.layers}
    assert set(past.undo) == set(layers)
    for layer, parameter in layers.items():
        left, right = past.undo[layer]
        was, now = before.tensor(parameter).float(), after.tensor(parameter).float()
        assert torch.allclose(now + left @ right, was, atol=2e-3)
        assert not torch.equal(now, was)


@pytest.mark.slow
@pytest.mark.parametrize("again", [OWL, Concept(name="Owl"), Concept(name="night bird", aliases=("owl",))])
def test_the_same_concept_twice_is_refused(rig, again, monkeypatch):
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(UsageFault, match="erased already: it is request 1"):
        rig.erase(again, "first", "again")


@pytest.mark.slow
def test_the_checkpoint_itself_is_no_place_to_write(rig):
    with pytest.raises(UsageFault, match="is the checkpoint to erase from"):
        rig.erase(CAT, "first", "first")


@pytest.mark.slow
@pytest.mark.parametrize("act", ["gone", "another", "cut"])
def test_a_ledger_that_does_not_fit_is_refused_before_a_weight_is_read(rig, tmp_path, monkeypatch, act):
    shutil.copytree(rig.place / "first", rig.place / act)
    ledger = rig.place / act / LEDGER
    if act == "gone":
        ledger.unlink()
    else:
        text = (rig.place / "second" / LEDGER).read_text()
        ledger.write_text(text if act == "another" else text[:-9])
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(ArtifactFault) as fault:
        rig.erase(CAT, act, "out")
    assert fault.value.exit_code == 4
    assert not (rig.place / "out").exists()


def anchors_in(folder, roles):
    folder.mkdir(parents=True)
    found = []
    for view, role in enumerate(roles):
        path = folder / f"{view}.png"
        render(find("dog").symbol, "colour", 4_900_000 + view).save(path)
        item = Item(content_hash(path.read_bytes()), str(folder), path.name, 96, 96)
        found.append(Anchor(item, role, 0.3, None))
    return found


def test_earlier_anchors_follow_the_images_of_the_request(tmp_path):
    anchors = anchors_in(tmp_path / "x", ("forget", "holdout", "general"))
    kept = subjects.material()[1][:2]
    aim = Aim(CAT, "mlp", 0, 0.4, earlier=[Earlier(OWL, kept.half())])
    found = subject_of(subjects.bundled(), anchors, aim, progress=Silent())
    assert found.features.shape[0] == 3 + 2
    assert torch.allclose(found.features[3:], kept, atol=1e-2)
    assert [len(found.of_role(role)) for role in ("forget", "holdout", "neighbour", "general")] == [1, 1, 0, 1]
    rows = {prompt.image for prompt in (*found.knowledge.retained, *found.knowledge.held_out)}
    assert rows & {3, 4}


def test_anchors_of_another_tower_are_refused(tmp_path):
    anchors = anchors_in(tmp_path / "x", ("forget",))
    aim = Aim(CAT, "mlp", 0, 0.4, earlier=[Earlier(OWL, torch.zeros(2, 3, 4))])
    with pytest.raises(ArtifactFault, match="is needed"):
        subject_of(subjects.bundled(), anchors, aim, progress=Silent())


def test_anchors_of_another_tower_are_refused_in_an_audit_too():
    fitting, foreign = subjects.material()[1][:2], torch.zeros(2, 3, 4)
    earlier = [ErasedBefore("owl", ("owl",), anchors=anchors) for anchors in (fitting, None, foreign)]
    refuse_other_anchors(subjects.bundled(), earlier[:2])
    with pytest.raises(ArtifactFault, match=r"anchors of request 3 have the shape \[3, 4\]: \[36, \d+\] is needed"):
        refuse_other_anchors(subjects.bundled(), earlier)


def aimed_at_the_cat(tmp_path):
    """The cat, on a checkpoint that an earlier request for the owl has changed in one layer."""
    anchors = anchors_in(tmp_path / "x", ("forget", "holdout", "general"))
    layer = subjects.context(seed=0, max_change=0.4).layers[1]
    weight = subjects.bundled().model.get_parameter(f"{layer}.weight")
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(len(weight), 2, generator=generator), torch.randn(2, weight.shape[1], generator=generator)
    undo = {layer: (-0.05 * left, right)}
    aim = Aim(CAT, "mlp", 0, 0.4, earlier=[Earlier(OWL, subjects.material()[1][:2])], undo=undo)
    return layer, 0.05 * left @ right, subject_of(subjects.bundled(), anchors, aim, progress=Silent())


def test_knowledge_is_that_of_the_checkpoint_before_the_first_request(tmp_path):
    layer, added, found = aimed_at_the_cat(tmp_path)
    assert torch.allclose(found.added(layer), added, atol=1e-6)
    assert found.added(found.layers[0]) is None
    prompts = [Prompt("What is this?", "a dog.", row) for row in range(5)]
    parts = list(found.referred(prompts, found.features))
    assert [([prompt.image for prompt in some], set(change)) for some, change in parts] == [
        ([0, 1, 2], {layer}),
        ([3, 4], set()),
    ]
    assert list(found.referred(prompts, found.features[:3].clone())) == [(prompts, {})]
    text = [Prompt("What kind of thing is a dog?", "An animal.")]
    assert [set(change) for _, change in found.referred(text, None)] == [{layer}]
    batch = found.responder.batch(prompts[:3])
    plain = found.responder.answer_logits(batch, found.features)
    weight = found.responder.model.get_parameter(f"{layer}.weight")
    with found.original():
        asked = found.responder.answer_logits(batch, found.features)
    kept = weight.clone()
    try:
        weight.sub_(added)
        expected = found.responder.answer_logits(batch, found.features)
    finally:
        weight.copy_(kept)  # adding it again would round, and other tests share the checkpoint
    assert not torch.allclose(plain, asked, atol=1e-2)
    torch.testing.assert_close(asked, expected, rtol=1e-4, atol=1e-3)
    drifted = sum(float(part) for part in drift_terms(found, prompts[:3], found.features, {}))
    assert drifted == pytest.approx(float(token_kl(expected, plain).mean()), rel=1e-3)


def test_the_leak_is_that_of_all_requests_together(tmp_path):
    layer, added, found = aimed_at_the_cat(tmp_path)
    anchors = {name: torch.eye(found.weight(name).shape[1]).double() for name in found.layers}
    subspace = Subspace(found, anchors, leak=0.05, rank=4)
    generator = torch.Generator().manual_seed(1)
    for left in subspace.left.values():
        left.data.copy_(0.05 * torch.randn(left.shape, generator=generator))
    shares = []
    for name in found.layers:
        change = subspace.left[name].detach() @ subspace.right[name]
        weight = found.weight(name)
        if name == layer:
            change, weight = change + added, weight - added
        shares.append(energy(change, found.moment(name)) / energy(weight, found.moment(name)))
    assert subspace.leak().item() == pytest.approx(sum(shares) / len(shares), rel=1e-3)
