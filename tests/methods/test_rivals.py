"""The data-dependent methods: their formulas, and what they do to the bundled checkpoint within a few steps."""

import dataclasses
import random

from types import SimpleNamespace

import method_references as slow
import pytest
import subjects
import torch

from pydantic import BaseModel

from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import STYLES, render
from space_cli.core import registry
from space_cli.core.errors import GateRefusal, UsageFault
from space_cli.core.forget_set import Samples, check_images, needs_images, relabelled
from space_cli.core.losses import answer_mask
from space_cli.core.recipe import Concept
from space_cli.core.tuning import Adapter
from space_cli.core.types import Batch, Prompt
from space_cli.methods import ga, ga_diff, kl_min, npo, po

QUICK = {
    "ga": {"steps": 12, "lr": 5e-3},
    "ga-diff": {"steps": 14, "lr": 1e-2, "retain_batch": 4},
    "kl-min": {"steps": 14, "lr": 1e-2, "retain_batch": 4},
    "po": {"steps": 12, "lr": 1e-2, "retain_batch": 4},
    "npo": {"steps": 12, "lr": 5e-3},
    "siu": {"steps": 8, "lr": 3e-3},
    "mmunlearner": {"steps": 16, "lr": 1e-2, "every": 1, "retain_batch": 4, "saliency_batches": 3},
}
RETAINING = ("ga-diff", "kl-min", "po", "mmunlearner")


@pytest.fixture(scope="module")
def images():
    """What the methods are given; `subjects.concept_features` judges them."""
    symbol = find(subjects.CONCEPT).symbol
    return subjects.bundled().features([render(symbol, STYLES[i % 2], 4_600_000 + i) for i in range(3)])


def context(images, **changes):
    made = subjects.context(**changes)
    made.forget = images
    return made


def run(name, found, **changes):
    method = registry.load("methods", name)
    return list(method.edits(found, method.Options(**(QUICK[name] | changes))))


def total(terms):
    return float(sum(terms.values()))


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_every_method_that_needs_images_is_tried_here():
    needing = {name for name in registry.names("methods") if getattr(registry.load("methods", name), "NEEDS_IMAGES", 0)}
    assert needing == set(QUICK)


def test_the_losses_are_the_published_formulas():
    forget, retain, reference = numbers(5).abs(), numbers(3, seed=1).abs(), numbers(5, seed=2).abs()
    lists = [values.tolist() for values in (forget, retain, reference)]
    assert total(ga.loss_terms(forget)) == pytest.approx(slow.ascent(lists[0]))
    assert total(ga_diff.loss_terms(forget, retain, 0.7)) == pytest.approx(slow.difference(lists[0], lists[1], 0.7))
    assert total(po.loss_terms(forget, retain, 0.7)) == pytest.approx(slow.refusal(lists[0], lists[1], 0.7))
    expected = slow.negative_preference(lists[0], lists[2], 0.4)
    assert float(npo.preference(forget, reference, 0.4)) == pytest.approx(expected)


def test_both_forms_of_kl_minimisation():
    forget, retain = numbers(4).abs(), numbers(2, seed=1).abs()
    before, after = numbers(2, 5, 7, seed=2).float(), numbers(2, 5, 7, seed=3).float()
    labels = torch.tensor([[-100, 3, 4, -100, 1, -100], [-100, -100, 2, -100, -100, -100]])
    batch = Batch(labels.clamp(min=0), torch.ones_like(labels), labels, None)
    mask = answer_mask(batch)[:, :5]
    apart = kl_min.divergences(before[mask], after[mask], batch)
    lists = before.tolist(), after.tolist(), mask.tolist()
    published = slow.kl_published(forget.tolist(), retain.tolist(), *lists, 0.5)
    assert total(kl_min.published_terms(forget, retain, apart, 0.5)) == pytest.approx(published, rel=1e-5)
    textbook = slow.kl_textbook(forget.tolist(), *lists, 0.5)
    assert total(kl_min.textbook_terms(forget, apart, mask.sum(-1), 0.5)) == pytest.approx(textbook, rel=1e-5)


def test_the_gradient_of_npo_is_that_of_ascent_at_its_start_and_fades():
    reference = numbers(6).abs()
    for beyond, share in ((0, 1.0), (30, 0.0)):
        now = (reference + beyond).requires_grad_(True)
        npo.preference(now, reference, 0.4).backward()
        assert torch.allclose(now.grad, torch.full_like(now, -share / len(now)), atol=1e-5)


def test_all_counts_every_token_but_padding_and_visual_ones():
    responder = subjects.bundled()
    batch = responder.batch([Prompt("What is this?", "an owl.", 0), Prompt("What?", "an owl.", 1)])
    assert relabelled(batch, responder.image_token, "answer") is batch
    labels = relabelled(batch, responder.image_token, "all").labels
    for ids, mask, row in zip(batch.ids.tolist(), batch.mask.tolist(), labels.tolist(), strict=True):
        wanted = [one if real and one != responder.image_token else -100 for one, real in zip(ids, mask, strict=True)]
        assert row == wanted
    assert (labels != -100).sum() > (batch.labels != -100).sum()


def test_forget_samples_name_the_concept_as_the_checkpoint_would(images):
    samples = Samples(context(images), "answer")
    assert len(samples.named) == len(images) * 5
    prompt = samples.named[0]
    form = subjects.material()[2].forms[prompt.question]
    assert (prompt.lead, prompt.answer) == (form.lead, form.around("owl", "an owl"))
    assert samples.draw(samples.named, 3, 7, "forget") == samples.draw(samples.named, 3, 7, "forget")
    assert samples.draw(samples.named, 3, 7, "forget") != samples.draw(samples.named, 3, 8, "forget")


@pytest.mark.parametrize("name", sorted(QUICK))
def test_the_name_fades_on_the_images_given(name, images):
    found = context(images)
    edits = run(name, found)
    before, after = (subjects.log_p(found, some, images) for some in ([], edits))
    assert after < before - 0.1
    assert {edit.layer for edit in edits} == set(found.layers)
    assert found.outcome.steps == QUICK[name]["steps"]
    assert [row["step"] for row in found.reported] == list(range(1, QUICK[name]["steps"] + 1))


@pytest.mark.parametrize("name", ["ga", "mmunlearner", "siu"])
def test_the_name_fades_where_the_tower_is_trained(name):
    found = subjects.context(scope="vision")
    found.forget = subjects.concept_features("vision")[:3]
    edits = run(name, found)
    before, after = (subjects.log_p(found, some, found.forget) for some in ([], edits))
    assert after < before - 0.1
    assert {edit.layer for edit in edits} == set(subjects.bundled().family.layers("vision"))
    assert all(edit.delta().any() for edit in edits)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_same_seed_same_edits_other_seed_others(name, images):
    one, same, other = (run(name, context(images, seed=seed), steps=2) for seed in (1, 1, 2))
    assert all(torch.equal(a.delta(), b.delta()) for a, b in zip(one, same, strict=True))
    assert any(not torch.equal(a.delta(), b.delta()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["ga", "mmunlearner"])
def test_a_layer_beyond_the_limit_is_shrunk_and_that_is_said(name, images):
    found = context(images, max_change=0.01)
    for edit in run(name, found, steps=2, lr=0.5):
        assert float(edit.delta().norm() / found.weight(edit.layer).norm()) <= 0.01 * (1 + 1e-4)
    assert found.outcome.signals["layers_shrunk"] == len(found.layers)
    assert found.outcome.signals["change_reached"] > 0.01


@pytest.mark.parametrize("name", sorted(QUICK))
def test_without_images_a_method_refuses(name):
    with pytest.raises(UsageFault, match="needs images of the concept"):
        run(name, subjects.context())


@pytest.mark.parametrize("name", RETAINING)
def test_with_nothing_to_retain_a_method_refuses(name, images):
    found = context(images)
    found.knowledge = dataclasses.replace(found.knowledge, retained=(), texts=())
    with pytest.raises(GateRefusal, match="nothing to retain"):
        run(name, found)


def test_without_words_images_alone_are_retained(images):
    found = context(images)
    found.knowledge = dataclasses.replace(found.knowledge, texts=())
    samples = Samples(found, "answer")
    assert all(samples.retain(step, 2).images is not None for step in range(4))
    assert Samples(context(images), "answer").retain(3, 2).images is None


def test_ascent_needs_nothing_to_retain(images):
    found = context(images)
    found.knowledge = dataclasses.replace(found.knowledge, retained=(), texts=())
    assert run("ga", found, steps=1)


def test_adapters_start_from_the_checkpoint_itself_and_can_be_dense(images):
    found = context(images)
    adapter = Adapter(found, rank=4, alpha=8.0)
    assert all(not edit.delta().any() for edit in adapter.edits())
    down = adapter.parameters[f"{found.layers[0]}.down"]
    assert float(down.detach().std()) == pytest.approx(1 / 4, rel=0.1)
    with torch.no_grad():
        adapter.parameters[f"{found.layers[0]}.up"].fill_(1.0)
    assert torch.equal(adapter.edits()[0].delta(), torch.full((adapter.edits()[0].left.shape), 2.0) @ down.detach())
    assert all(edit.dense is not None for edit in run("ga", found, steps=1, rank=0))


def test_a_refusal_answers_the_same_question():
    asked = [Prompt("What is this?", "an owl.", 3, "This is")] * 20
    refused = po.refused(asked, random.Random(0))
    assert {(one.question, one.image, one.lead) for one in refused} == {("What is this?", 3, "")}
    assert {one.answer for one in refused} <= set(po.REFUSALS)
    assert len({one.answer for one in refused}) > 2


def test_an_option_may_make_a_source_free_method_use_images():
    class Options(BaseModel):
        oracle: bool = False

    method = SimpleNamespace(IMAGES_OPTION="oracle")
    assert not needs_images(method, Options())
    assert needs_images(method, Options(oracle=True))
    check_images("mine", method, Options(oracle=True), "folder")
    with pytest.raises(UsageFault, match="needs images"):
        check_images("mine", method, Options(oracle=True), None)
    with pytest.raises(UsageFault, match="source-free") as refusal:
        check_images("mine", method, Options(), "folder")
    assert "--set oracle=true" in refusal.value.hint


def test_a_concept_of_another_name_is_asked_for_by_that_name(images):
    found = context(images)
    found.concept = Concept(name="barn owl")
    assert all("barn owl" in prompt.answer for prompt in Samples(found, "answer").named)
