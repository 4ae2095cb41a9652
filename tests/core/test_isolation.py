from dataclasses import replace
from types import SimpleNamespace

import pytest
import reference
import subjects
import torch

from space_cli.core import phrasing
from space_cli.core.isolation import (
    NAME_MARGIN,
    concept_direction,
    middle_block,
    name_loss,
    orthogonality,
    pooled_states,
    spectral_entropy,
)
from space_cli.core.losses import token_kl
from space_cli.core.recipe import Concept
from space_cli.core.types import Batch, Prompt


def test_preference_equals_the_reference():
    told = [[-0.1], [-3.0, -0.5, -1.0], [-9.0, -0.01]]
    expected = reference.preference(told, 0.5, NAME_MARGIN)
    assert float(name_loss([torch.tensor(one) for one in told], 0.5)) == pytest.approx(expected, rel=1e-5)


def test_preference_falls_as_the_name_becomes_unlikely():
    losses = [float(name_loss([torch.tensor([v])], 0.5)) for v in (0.0, -2.0, -8.0, -20.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01


def test_what_is_certain_is_pressed_as_hard_as_what_is_likely():
    def pulled(gap):
        """Return the gradient in the logit of an answer that stands so far above the only other one."""
        logits = torch.tensor([gap, 0.0], requires_grad=True)
        name_loss([logits.log_softmax(-1)[:1]], 1.0).backward()
        return float(logits.grad[0])

    assert pulled(9.0) == pytest.approx(pulled(1.0), rel=0.02)
    assert pulled(1.0) == pytest.approx(2.0, rel=0.02)
    assert abs(pulled(-9.0)) < 0.02
    assert name_loss([torch.zeros(2)], 1.0).isfinite()


def test_of_a_longer_name_the_token_that_follows_from_the_first_is_no_certain_answer():
    open_first = name_loss([torch.tensor([-5.0, -1e-6])], 1.0)
    assert float(open_first) == pytest.approx(reference.preference([[-5.0, -1e-6]], 1.0, NAME_MARGIN), rel=1e-4)
    assert float(open_first) < float(name_loss([torch.tensor([-1e-6, -1e-6])], 1.0)) / 2


def test_repulsion_equals_the_reference_and_ignores_the_opposite():
    rows, direction = torch.randn(6, 8), torch.randn(8)
    assert float(orthogonality(rows, direction)) == pytest.approx(reference.repulsion(rows, direction), rel=1e-5)
    assert float(orthogonality(-direction[None], direction)) == 0.0


def test_spectral_entropy_equals_the_reference():
    rows = torch.randn(6, 10)
    assert float(spectral_entropy(rows)) == pytest.approx(reference.spectral_entropy(rows), rel=1e-4)


def test_one_anchor_has_no_entropy_to_raise():
    row = torch.randn(1, 8, requires_grad=True)
    value = spectral_entropy(row)
    value.backward()
    assert value.item() == 0.0
    assert not row.grad.any()


def test_orthogonal_anchors_have_all_the_entropy():
    assert float(spectral_entropy(torch.eye(4))) == pytest.approx(1.0, abs=1e-5)


def test_token_kl_equals_the_reference():
    before, after = torch.randn(3, 5), torch.randn(3, 5)
    found = token_kl(before, after)
    assert found.shape == (3,)
    assert float(found.mean()) == pytest.approx(reference.kl(before, after), rel=1e-4)
    assert float(token_kl(before, before).abs().max()) == pytest.approx(0.0, abs=1e-6)


def test_a_concept_points_away_from_other_words_in_the_same_question_alone():
    found = subjects.context()
    opening = phrasing.TEXT_KIND_QUESTION.partition("{")[0]
    alike = tuple(prompt for prompt in found.knowledge.texts if prompt.question.startswith(opening))
    assert len(alike) < len(found.knowledge.texts)
    only = replace(found, knowledge=replace(found.knowledge, texts=alike))
    layer = middle_block(found, 0.5)
    assert torch.equal(concept_direction(found, layer), concept_direction(only, layer))
    # Two concepts have little in common but the question.
    other = replace(found, concept=Concept(name="bus", phrase="a bus"))
    assert abs(float(concept_direction(found, layer) @ concept_direction(other, layer))) < 0.3


def test_without_a_word_beside_the_concept_s_own_its_text_points_somewhere_all_the_same():
    found = subjects.context()
    layer = middle_block(found, 0.5)
    alone = replace(found, knowledge=replace(found.knowledge, texts=tuple(found.word_prompts())))
    direction = concept_direction(alone, layer)
    assert float(direction.norm()) == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(direction, concept_direction(found, layer))


class Loud:
    """A responder in half precision whose hidden states are as large as a decoder's few largest ones."""

    image_token = 9
    size = 200.0

    def batch(self, prompts):
        ids = torch.full((len(prompts), 600), self.image_token)
        return Batch(ids, torch.ones_like(ids), torch.full_like(ids, -100), torch.arange(len(prompts)))

    def hidden(self, batch, features, layer):
        states = torch.full((*batch.ids.shape, 4), self.size, dtype=torch.float16)
        states[..., 1] = len(batch.ids)
        return states


def test_hidden_states_of_half_precision_are_summed_in_single():
    context = SimpleNamespace(
        responder=Loud(), concept=Concept(name="owl"), knowledge=SimpleNamespace(texts=(Prompt("What kind of", ""),))
    )
    pooled = pooled_states(context, torch.zeros(2, 1, 1), 1)
    assert pooled.dtype == torch.float32
    assert pooled.tolist() == [[200.0, 2.0, 200.0, 200.0]] * 2
    direction = concept_direction(context, 1)
    assert direction.isfinite().all()
    assert float(direction.norm()) == pytest.approx(1)
    assert orthogonality(pooled, direction).isfinite()
