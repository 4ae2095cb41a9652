"""Retained images beside themselves."""

from dataclasses import replace

import pytest
import torch

from space_cli.core import isolation
from space_cli.core.isolation import drift_terms
from space_cli.core.jitter import Jitter
from space_cli.core.types import Prompt
from tests import subjects

PROMPTS = [Prompt("What is this?", "a cat", 2), Prompt("Is this a dog?", "Yes", 0), Prompt("What?", "a cow", 2)]


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 0.1, 10.0])
    return scale * torch.randn(40, 50, 3, generator=generator)


def test_every_prompt_has_an_image_of_its_own_beside_the_one_it_asks_about(features):
    prompts, shown = Jitter(features, 0.5, seed=1).beside(PROMPTS, "3 retain")
    assert [replace(one, image=None) for one in prompts] == [replace(one, image=None) for one in PROMPTS]
    assert [one.image for one in prompts] == [0, 1, 2]
    moved = shown - features[[2, 0, 2]]
    assert torch.allclose(moved.std((0, 1)) / features.std((0, 1)), torch.full((3,), 0.5), rtol=0.15)
    assert not torch.equal(moved[0], moved[2])


def test_the_noise_follows_from_seed_and_turn(features):
    first = Jitter(features, 0.5, seed=1)
    _, shown = first.beside(PROMPTS, "3 retain")
    assert torch.equal(shown, first.beside(PROMPTS, "3 retain")[1])
    assert not torch.equal(shown, first.beside(PROMPTS, "4 retain")[1])
    assert not torch.equal(shown, Jitter(features, 0.5, seed=2).beside(PROMPTS, "3 retain")[1])


def test_without_size_nothing_moves(features):
    _, shown = Jitter(features, 0.0, seed=1).beside(PROMPTS, "0 retain")
    assert torch.equal(shown, features[[2, 0, 2]])


def test_no_change_drifts_nowhere_and_a_change_drifts_beside_the_images_too():
    context = subjects.context()
    prompts = context.knowledge.retained[:6]
    jitter = (Jitter(context.features, 1.0, seed=0), "0 retain")
    assert sum(map(float, drift_terms(context, prompts, context.features, {}, jitter))) == pytest.approx(0, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    shape = context.weight(context.layers[-1]).shape
    factors = {
        context.layers[-1]: tuple(
            0.3 * torch.randn(n, m, generator=generator) for n, m in ((shape[0], 4), (4, shape[1]))
        )
    }
    plain, beside = (
        sum(map(float, drift_terms(context, prompts, context.features, factors, one))) for one in (None, jitter)
    )
    assert min(plain, beside) > 0
    assert plain != pytest.approx(beside, rel=1e-3)


def test_how_many_prompts_fit_in_a_pass_does_not_change_the_noise_they_are_shown_with(monkeypatch):
    context = subjects.context()
    prompts = [*context.knowledge.retained[:7], *context.knowledge.texts[:3]]
    factors = subjects.drawn_factors(context)
    jitter = (Jitter(context.features, 1.0, seed=0), "0 retain")
    told = {}
    for together in (64, 3):
        monkeypatch.setattr(isolation, "rows_at_once", lambda *_, many=together: many)
        terms = drift_terms(context, prompts, context.features, factors, jitter)
        told[together] = [term.item() for term in terms]
    assert (len(told[64]), len(told[3])) == (2, 4)
    assert sum(told[3]) == pytest.approx(sum(told[64]), rel=1e-4)
