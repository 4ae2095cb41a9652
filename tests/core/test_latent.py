"""Shifts of hidden states that travel beside an image's features."""

import pytest
import subjects
import torch

from space_cli.core import latent
from space_cli.core.types import Prompt

QUESTION = "What is this?"


@pytest.fixture
def seen():
    """A batch of two prompts, the second image asked about first, with the images' features."""
    responder = subjects.bundled()
    batch = responder.batch([Prompt(QUESTION, "This is an owl.", row) for row in (1, 0)])
    return responder, batch, subjects.concept_features()[:2]


def shifts_for(responder, features, count=2):
    width = responder.model.config.get_text_config().hidden_size
    return torch.randn(count, *features.shape[:2], width, generator=torch.Generator().manual_seed(0))


def test_shifts_of_zero_change_nothing(seen):
    responder, batch, features = seen
    wide = latent.joined(features, torch.zeros_like(shifts_for(responder, features)))
    assert torch.equal(responder.read(batch, wide), responder.read(batch, features))


def entering(responder, block, batch, features):
    """Return what a block of the decoder is given at the images' tokens, [b, p, h]."""
    kept = []
    module = responder.model.get_submodule(f"{responder.family.language_model}.layers.{block}")
    handle = module.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    try:
        responder.read(batch, features)
    finally:
        handle.remove()
    return kept[0][batch.ids == responder.image_token].reshape(len(batch.ids), features.shape[1], -1)


def test_a_shift_is_added_to_its_own_image_at_its_own_depth(seen):
    responder, batch, features = seen
    shift = shifts_for(responder, features, 1)[0]
    for turn, depth in enumerate(latent.depths(responder.model.config.get_text_config().num_hidden_layers, 2)):
        wide = latent.joined(features, latent.alone(shift, turn, 2))
        moved = entering(responder, depth, batch, wide) - entering(responder, depth, batch, features)
        torch.testing.assert_close(moved, shift[batch.images], rtol=0, atol=1e-4)
        earlier = depth - 1
        assert torch.equal(entering(responder, earlier, batch, wide), entering(responder, earlier, batch, features))


def test_the_states_that_a_push_starts_from_are_those_it_is_added_to(seen):
    responder, _, features = seen
    blocks = responder.model.config.get_text_config().num_hidden_layers
    batch = responder.batch([Prompt(QUESTION, "", row) for row in range(2)])
    for turn, depth in enumerate(latent.depths(blocks, 2)):
        found = latent.states(responder, features, turn, 2)
        torch.testing.assert_close(found, entering(responder, depth, batch, features), rtol=0, atol=1e-4)


def test_the_name_is_reached_by_pushing_hidden_states_alone(seen):
    responder, batch, features = seen
    shifts = torch.zeros_like(shifts_for(responder, features)).requires_grad_(True)
    responder.read(batch, latent.joined(features, shifts)).sum().backward()
    assert all(float(one.abs().sum()) > 0 for one in shifts.grad.flatten(0, 1))


def test_no_hook_is_left_behind(seen):
    responder, batch, features = seen
    plain = responder.read(batch, features)
    responder.read(batch, latent.joined(features, shifts_for(responder, features)))
    assert torch.equal(responder.read(batch, features), plain)


def test_hidden_states_at_the_depth_of_a_shift_hold_it(seen):
    responder, batch, features = seen
    shift = shifts_for(responder, features, 1)[0]
    blocks = responder.model.config.get_text_config().num_hidden_layers
    tokens = batch.ids == responder.image_token
    for turn, depth in enumerate(latent.depths(blocks, 2)):
        wide = latent.joined(features, latent.alone(shift, turn, 2))
        moved = [responder.hidden(batch, one, depth)[tokens].reshape(shift.shape) for one in (wide, features)]
        torch.testing.assert_close(moved[0] - moved[1], shift[batch.images], rtol=0, atol=1e-4)
    assert torch.equal(responder.hidden(batch, features, blocks), responder.read(batch, features))
