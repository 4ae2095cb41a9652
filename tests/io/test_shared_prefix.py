import subjects
import torch

from space_cli.bundled.concepts import drawn_concepts
from space_cli.bundled.drawings import render
from space_cli.core import latent
from space_cli.core.hooks import editing
from space_cli.core.losses import token_log_likelihood
from space_cli.core.types import Prompt
from space_cli.io.shared_prefix import common_opening

QUESTIONS = ("What is this?", "Is there an owl in this picture?", "What kind of thing is shown in this picture?")


def features(count=3):
    return subjects.bundled().features([render(c.symbol, "colour", 3_700_000) for c in drawn_concepts()[:count]])


def prompts(count=3):
    return [
        Prompt(question, "This is an owl.", row, ends=row != 1)
        for question in QUESTIONS
        for row in reversed(range(count))
    ]


def one_by_one(responder, asked, shown):
    return torch.cat([responder.answer_logits(responder.batch([prompt]), shown) for prompt in asked])


def factors(layers, rank=2):
    """A change of every editable layer that matters; gradients reach it."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for layer in layers:
        weight = subjects.bundled().model.get_submodule(layer).weight
        left = torch.randn(len(weight), rank, generator=generator) * 0.02
        found[layer] = (left.requires_grad_(True), torch.randn(rank, weight.shape[1], generator=generator))
    return found


def test_an_opening_is_what_stands_before_the_end_of_an_image_asked_about_twice():
    responder = subjects.bundled()
    batch = responder.batch(prompts())
    opening = common_opening(batch, responder.image_token)
    assert (batch.ids[0, : opening.length] == responder.image_token).sum() == responder.family.visual_tokens
    assert batch.ids[0, opening.length - 1] == responder.image_token
    assert batch.images[opening.firsts].tolist() == [0, 1, 2]
    assert opening.rows.tolist() == [2, 1, 0] * len(QUESTIONS)


def test_nothing_is_shared_where_it_saves_nothing_or_something_is_to_be_predicted_there():
    responder = subjects.bundled()
    token = responder.image_token
    assert common_opening(responder.batch(prompts()[:3]), token) is None
    assert common_opening(responder.batch(prompts()[:5]), token) is None
    assert common_opening(responder.batch(prompts()[:6]), token) is not None
    assert common_opening(responder.batch([Prompt(q, "It is.") for q in QUESTIONS]), token) is None
    batch = responder.batch(prompts())
    batch.labels[0, 2] = 5
    assert common_opening(batch, token) is None


def test_a_template_that_opens_otherwise_is_read_as_it_stands():
    responder = subjects.bundled()
    batch = responder.batch(prompts())
    batch.ids[4, 0] += 1
    assert common_opening(batch, responder.image_token) is None


def test_sharing_changes_neither_logits_nor_gradients():
    responder, shown = subjects.bundled(), features()
    states = latent.states(responder, shown, 1, 2)
    shown = latent.joined(shown, latent.alone(states.mean(0, keepdim=True) - states, 1, 2)).requires_grad_(True)
    changes = factors(responder.family.layers("mlp"))
    leaves = [shown, *(left for left, _ in changes.values())]
    found = []
    for way in (
        lambda: responder.answer_logits(responder.batch(prompts()), shown),
        lambda: one_by_one(responder, prompts(), shown),
    ):
        with editing(responder.model, changes):
            logits = way()
        chosen = token_log_likelihood(logits, responder.batch(prompts())).sum()
        found.append((logits.detach(), torch.autograd.grad(chosen, leaves)))
    (together, gradients), (apart, expected) = found
    torch.testing.assert_close(together, apart, rtol=1e-3, atol=1e-3)
    for one, other in zip(gradients, expected, strict=True):
        assert float((one - other).norm()) < 1e-3 * float(other.norm())


def test_answers_about_shared_images_are_those_of_each_alone():
    responder, shown = subjects.bundled(), features(6)
    about = [row for row in range(6) for _ in QUESTIONS]
    questions = list(QUESTIONS) * 6
    together = responder.answer_features(shown, questions, about=about, lead="this")
    alone = [
        responder.answer_features(shown[row : row + 1], [question], lead="this")[0]
        for row, question in zip(about, questions, strict=True)
    ]
    assert together == alone
    assert len(set(together)) > 6


def test_every_token_of_every_prompt_is_read_by_who_watches():
    responder = subjects.bundled()
    batch = responder.batch(prompts())
    assert responder.read(batch, features()).shape[:2] == batch.ids.shape
