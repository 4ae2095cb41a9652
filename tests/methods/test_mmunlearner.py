"""MMUnlearner: the mask is made on what is trained, and it masks."""

from contextlib import nullcontext
from types import SimpleNamespace

import method_references as slow
import pytest
import subjects
import torch

from space_cli.core.errors import GateRefusal
from space_cli.core.forget_set import Samples
from space_cli.core.tuning import Adapter, adamw
from space_cli.core.types import Prompt
from space_cli.methods import mmunlearner
from space_cli.methods.mmunlearner import Options

QUICK = Options(steps=2, saliency_batches=2, every=1, retain_batch=4)


@pytest.fixture(scope="module")
def found():
    made = subjects.context()
    made.forget = subjects.concept_features()[:2]
    return made


@pytest.fixture(scope="module")
def masked(found):
    samples, adapter = Samples(found, "answer"), Adapter(found, rank=0)
    return samples, adapter, mmunlearner._masks(found, samples, adapter, QUICK)


def test_the_mask_is_the_published_ratio():
    draw = torch.Generator().manual_seed(0)
    target, preserve = torch.randn(2, 5, 40, generator=draw)
    target[:, :3], preserve[:, :3] = 0, 0  # touched by neither: the ratio is 1
    mask = mmunlearner.saliency_mask((target**2).mean(0), (preserve**2).mean(0), 0.9)
    assert mask.tolist() == slow.saliency(target.tolist(), preserve.tolist(), 0.9)
    assert mask[:3].all()
    assert 3 < int(mask.sum()) < 40


def test_every_trained_parameter_has_a_mask_that_lets_some_entries_through(found, masked):
    _, adapter, masks = masked
    assert set(masks) == set(adapter.parameters) == {f"{layer}.dense" for layer in found.layers}
    for name, mask in masks.items():
        assert mask.shape == adapter.parameters[name].shape
        assert 0 < float(mask.mean()) < 1, name
    assert 0 < found.outcome.signals["mask_share"] < 1


def test_saliency_is_the_mean_of_squared_batch_gradients(found, masked):
    samples, adapter, _ = masked
    prompts = samples.named[:2]
    one = mmunlearner._saliency(found, samples, adapter, prompts, Options(batch=2), about_concept=True)
    with found.edited(adapter.factors()):
        nll = samples.forget_nll(samples.batch(sorted(prompts, key=lambda p: len(p.question) + len(p.answer)))).mean()
    name = f"{found.layers[-1]}.dense"
    gradient = torch.autograd.grad(nll, adapter.parameters[name])[0]
    assert torch.allclose(one[name], gradient**2, rtol=1e-3, atol=1e-12)


def test_words_do_not_count_against_a_layer_they_never_reach(found, masked):
    samples, adapter, _ = masked
    connector, decoder = f"{found.layers[0]}.dense", f"{found.layers[-1]}.dense"
    pictures, words = list(found.knowledge.retained[:1]), list(found.knowledge.texts[:1])
    alone, both = (
        mmunlearner._saliency(found, samples, adapter, prompts, Options(), about_concept=False)
        for prompts in (pictures, pictures + words)
    )
    assert torch.equal(alone[connector], both[connector])
    assert not torch.equal(alone[decoder], both[decoder])


def test_the_connector_alone_is_trained_although_words_never_reach_it(found):
    made = subjects.context(layers=found.responder.family.layers("connector"))
    made.forget = found.forget
    asked = []
    retain = Samples.retain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Samples, "retain", lambda *given: asked.append(retain(*given)) or asked[-1])
        edits = list(mmunlearner.edits(made, QUICK.model_copy(update={"steps": 4, "saliency_batches": 20})))
    assert [batch.images is None for batch in asked] == [False, False, False, True]
    assert {edit.layer for edit in edits} == {*made.layers}
    assert all(edit.delta().any() for edit in edits)


def test_a_first_forget_step_moves_no_masked_entry(found, masked):
    samples, _, masks = masked
    adapter = Adapter(found, rank=0)
    batch = samples.forget(0, 2)
    mmunlearner._forget_step(found, samples, adapter, batch, masks, 1.0, adamw(adapter, 1e-3))
    for name, parameter in adapter.parameters.items():
        assert not parameter[masks[name] == 0].any(), name
        assert parameter[masks[name] == 1].any(), name


def test_the_ascent_is_clipped(found, monkeypatch):
    seen = []
    real = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, norm: seen.append(norm) or real(p, norm))
    list(mmunlearner.edits(found, QUICK.model_copy(update={"clip": 0.5})))
    assert seen == [0.5, 0.5]


@pytest.mark.parametrize("tau", [1e-30, 1e30])
def test_a_mask_that_separates_nothing_is_refused(found, masked, tau):
    samples, adapter, _ = masked
    with pytest.raises(GateRefusal, match="separates nothing") as refusal:
        mmunlearner._masks(found, samples, adapter, QUICK.model_copy(update={"tau": tau}))
    assert refusal.value.figures["mask_share"] in {0.0, 1.0}


def test_forget_steps_come_as_often_as_asked_for(found):
    made = subjects.context()
    made.forget = found.forget
    list(mmunlearner.edits(made, QUICK.model_copy(update={"steps": 4, "every": 3})))
    assert ["forget" in row for row in made.reported] == [False, False, True, False]


def test_fresh_low_rank_factors_would_make_no_mask(found):
    """Why the change is dense: with B at zero, A has no gradient on either set."""
    samples, adapter = Samples(found, "answer"), Adapter(found, rank=4)
    one = mmunlearner._saliency(found, samples, adapter, samples.named[:2], Options(), about_concept=True)
    assert all(not value.any() for name, value in one.items() if name.endswith(".down"))
    assert any(value.any() for name, value in one.items() if name.endswith(".up"))


class Parts:
    """One trained number each for what is retained and for what is forgotten, and a third that neither touches."""

    named = (1, 2, 3)

    def __init__(self, context, loss_on):
        self.retain = self.forget = lambda step, size: "batch"
        self.value = context.value

    def retain_nll(self, batch):
        return (self.value[0, :1] - 1) ** 2

    def forget_nll(self, batch):
        return (self.value[0, 1:2] - 1) ** 2


def trained(monkeypatch, retained=(), **options):
    value = torch.zeros(1, 3, requires_grad=True)
    adapter = SimpleNamespace(parameters={"a.dense": value}, factors=dict, edits=list)
    context = subjects_free(value, retained)
    monkeypatch.setattr(mmunlearner, "Samples", Parts)
    monkeypatch.setattr(mmunlearner, "Adapter", lambda context, rank: adapter)
    monkeypatch.setattr(mmunlearner, "finish", lambda context, adapter: None)
    monkeypatch.setattr(mmunlearner, "_masks", lambda *given: {"a.dense": torch.ones(1, 3)})
    list(mmunlearner.edits(context, Options(lr=0.1, **options)))
    return value.detach()[0].tolist(), context.reported


def subjects_free(value, retained):
    reported = []
    return SimpleNamespace(
        value=value,
        reported=reported,
        record=reported.append,
        knowledge=SimpleNamespace(retained=retained),
        outcome=SimpleNamespace(steps=0),
        progress=SimpleNamespace(task=lambda *words: nullcontext(lambda *done, **figures: None)),
        edited=lambda factors: nullcontext(),
    )


def test_what_is_retained_descends_and_what_is_forgotten_ascends(monkeypatch):
    (retained, forgotten, untouched), reported = trained(monkeypatch, steps=3, every=1)
    assert retained > 0.2, "towards the least loss, at 1"
    assert forgotten < -0.2, "away from it"
    assert untouched == 0
    assert reported[-1]["retain"] < reported[0]["retain"] == 1.0
    assert reported[-1]["forget"] < reported[0]["forget"] == -1.0


def test_by_the_ratio_of_the_sets_a_forget_step_follows_as_many_retain_steps(monkeypatch):
    _, reported = trained(monkeypatch, retained=range(7), steps=5, every=0)
    assert ["forget" in row for row in reported] == [False, True, False, True, False]


def test_the_gradient_is_clipped_before_it_is_masked():
    value, seen = torch.zeros(1, 2, requires_grad=True), []
    adapter = SimpleNamespace(parameters={"a.dense": value}, factors=dict)
    samples = SimpleNamespace(forget_nll=lambda batch: -(value * torch.tensor([[3.0, 4.0]])).sum(1))
    optimiser = SimpleNamespace(
        zero_grad=lambda: None, backward=lambda loss: loss.backward(), step=lambda: seen.append(value.grad.tolist())
    )
    masks = {"a.dense": torch.tensor([[0.0, 1.0]])}
    context = SimpleNamespace(edited=lambda factors: nullcontext())
    mmunlearner._forget_step(context, samples, adapter, "batch", masks, 1.0, optimiser)
    assert seen == [[[0.0, pytest.approx(0.8, rel=1e-4)]]]


def test_saliency_is_a_mean_over_batches_so_that_sets_of_other_sizes_compare():
    value = torch.zeros(1, 1, requires_grad=True)
    adapter = SimpleNamespace(parameters={"a.dense": value}, factors=dict)
    samples = SimpleNamespace(
        draw=lambda pool, size, step, label: pool[:size],
        batch=lambda prompts: float(prompts[0].answer),
        forget_nll=lambda slope: slope * value[0],
    )
    context = SimpleNamespace(edited=lambda factors: nullcontext())
    prompts = [Prompt("?", answer, 0) for answer in ("1", "2", "3")]
    found = mmunlearner._saliency(context, samples, adapter, prompts, Options(batch=1), about_concept=True)
    assert float(found["a.dense"]) == pytest.approx((1 + 4 + 9) / 3)
