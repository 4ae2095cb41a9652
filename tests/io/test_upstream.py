"""A checkpoint whose features lie inside its tower, upstream of the blocks that `--scope vision` changes."""

import pytest
import subjects
import torch

from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import render
from space_cli.core import latent
from space_cli.core.attacking import surrogates
from space_cli.core.losses import answer_log_likelihood
from space_cli.core.naming import Naming
from space_cli.core.relearning import linears
from space_cli.core.types import Prompt
from tests.attacks.attack_subjects import drawn

QUESTION = "What is this?"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def images():
    return [render(find(name).symbol, "colour", 3_600_000) for name in ("owl", "cat")]


@pytest.fixture
def inside():
    return subjects.bundled().upstream("vision")


def prompts(count):
    return [Prompt(QUESTION, "This is an owl.", row) for row in reversed(range(count))]


def moved(found):
    """Return a change of every tower layer that is large enough to change an answer."""
    return {layer: change for layer, change in subjects.drawn_factors(found).items() if "tower" in layer}


def test_features_and_then_the_rest_are_the_whole_model(images, inside):
    features = inside.features(images)
    assert features.shape == (2, 37, 192), "the class token is among them"
    assert features.shape[1:] == inside.feature_shape
    assert subjects.bundled().features(images).shape[1:] == subjects.bundled().feature_shape
    batch = inside.batch(prompts(2))
    pixels = inside._processor(images=images, return_tensors="pt")["pixel_values"][batch.images]
    whole = inside.model(input_ids=batch.ids, pixel_values=pixels, attention_mask=batch.mask).logits
    torch.testing.assert_close(inside._head(inside.read(batch, features)), whole, **TOLERANCE)
    plain = subjects.bundled()
    torch.testing.assert_close(
        inside.answer_logits(batch, features), plain.answer_logits(batch, plain.features(images)), **TOLERANCE
    )
    assert inside.answer(images, [QUESTION] * 2) == plain.answer(images, [QUESTION] * 2)


@pytest.mark.parametrize("scope", ["connector", "blocks", "mlp", "all"])
def test_other_scopes_begin_behind_the_tower_to_the_bit(images, scope):
    plain, other = subjects.bundled(), subjects.bundled().upstream("vision").upstream(scope)
    assert torch.equal(other.features(images), plain.features(images))
    pixels = plain.pixels(images)
    assert torch.equal(other.look(pixels), plain.look(pixels))
    seen, batch = plain.features(images), plain.batch(prompts(2))
    assert torch.equal(other.read(batch, seen), plain.read(batch, seen))
    shown = plain.model.get_submodule(plain.family.connector)(seen)
    shifts = torch.zeros(1, *seen.shape[:2], shown.shape[-1])
    assert torch.equal(latent.joined(seen, shifts)[..., : seen.shape[-1]], seen)


def test_edits_of_the_tower_change_no_feature_and_what_is_made_of_it(images, inside):
    features, batch = inside.features(images), inside.batch(prompts(2))
    found = subjects.context(scope="vision")
    before = inside.answer_logits(batch, features)
    with found.edited(moved(found)), torch.no_grad():
        assert torch.equal(inside.features(images), features)
        assert not torch.equal(inside.answer_logits(batch, features), before)


def test_gradients_reach_every_layer_of_the_scope_and_the_features(images, inside):
    found = subjects.context(scope="vision")
    factors = subjects.drawn_factors(found)
    features, batch = inside.features(images).requires_grad_(True), inside.batch(prompts(2))
    with found.edited(factors):
        answer_log_likelihood(inside.answer_logits(batch, features), batch).sum().backward()
    assert features.grad[:, 0].any(), "of the class token, too"
    assert all(left.grad.any() for left, _ in factors.values())


def test_moments_are_of_what_the_towers_layers_are_given():
    found = subjects.context(scope="vision")
    some = [prompt for prompt in found.knowledge.retained if prompt.image is not None][:3]
    moments = found.moments(some, found.features, label="keys")
    for layer in found.layers[:-1]:
        assert moments[layer].tokens == 3 * 37
        assert moments[layer].width == found.weight(layer).shape[1]
    assert moments[found.layers[-1]].tokens == 3 * 36


def test_a_shift_of_hidden_states_is_of_visual_tokens_alone(images, inside):
    plain, features, batch = subjects.bundled(), inside.features(images), inside.batch(prompts(2))
    states = latent.states(inside, features, 0, 1)
    torch.testing.assert_close(states, latent.states(plain, plain.features(images), 0, 1), **TOLERANCE)
    shifts = torch.randn(1, *states.shape, generator=torch.Generator().manual_seed(0))
    wide = latent.joined(features, shifts)
    assert wide.shape[:2] == features.shape[:2]
    torch.testing.assert_close(
        inside.read(batch, wide), plain.read(batch, latent.joined(plain.features(images), shifts)), **TOLERANCE
    )


def test_who_relearns_trains_the_towers_upper_blocks_too(inside):
    names = linears(inside, prompts(1)[0], subjects.concept_features("vision"))
    assert set(subjects.bundled().family.layers("vision")) <= set(names)
    assert not any(".layers.2." in name for name in names if "vision_tower" in name)


def test_what_stands_for_the_concept_is_pushed_in_front_of_the_edits(inside):
    """Pushed behind the tower it would go round what was erased there."""
    look, found = drawn(), subjects.context(scope="vision")
    pushed = surrogates(inside, look, 2)
    assert pushed.shape[1:] == (37, 192)
    naming = Naming(inside, found.concept, found.knowledge.forms, 0)
    with torch.no_grad():
        before = naming.activation(pushed)
        with found.edited(moved(found)):
            assert not torch.allclose(naming.activation(pushed), before)
