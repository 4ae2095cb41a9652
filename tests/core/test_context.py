from dataclasses import replace

import subjects
import torch

from space_cli.core.context import OPENING_WEIGHT, batched
from space_cli.core.hooks import watching
from space_cli.core.linalg import energy
from space_cli.core.moments import FewKeys, SecondMoment, with_openings
from space_cli.core.types import Prompt


def test_a_moment_stays_on_the_device_of_its_keys_where_no_first_token_passes():
    # The meta device refuses to meet the CPU, as a GPU does.
    keys = torch.zeros(2, 3, device="meta")
    assert with_openings(SecondMoment(3).update(keys), FewKeys(3), OPENING_WEIGHT).device.type == "meta"


def keys_of(context, layer, prompts):
    """Return the keys of all tokens and those of the first ones, each of unit length, float64."""
    every, first = [], []
    for chosen in batched(prompts, 16):
        batch = context.responder.batch(chosen)
        seen = []
        with torch.no_grad(), watching(context.responder.model, [layer], lambda _, inputs, to=seen: to.append(inputs)):
            context.responder.read(batch, context.features)
        unit = torch.nn.functional.normalize(seen[0].double(), dim=-1)
        every.append(unit[batch.mask.bool()])
        first.append(unit[:, 0])
    return torch.cat(every), torch.cat(first)


def test_the_first_tokens_have_a_weight_of_their_own():
    layer = subjects.bundled().family.mlp_layers[2]
    context = subjects.context(layers=(layer,))
    knowledge = context.knowledge
    context.knowledge = replace(knowledge, retained=knowledge.retained[:9], texts=knowledge.texts[:5])
    prompts = [*context.knowledge.retained, *context.knowledge.texts]
    every, first = keys_of(context, layer, prompts)
    wanted = every.T @ every / len(every) + OPENING_WEIGHT * first.T @ first / len(first)
    torch.testing.assert_close(context.moment(layer), wanted, rtol=1e-5, atol=1e-7)


def test_one_moment_a_layer_is_kept(monkeypatch):
    layers = subjects.bundled().family.mlp_layers[:3]
    context = subjects.context(layers=layers)
    context.knowledge = replace(context.knowledge, retained=context.knowledge.retained[:9])
    alive, most = [0], [0]
    made = SecondMoment.update

    def update(self, keys):
        alive[0] += not self.total.numel()
        most[0] = max(most[0], alive[0])
        return made(self, keys)

    monkeypatch.setattr(SecondMoment, "update", update)
    context.moments(context.knowledge.texts[:4], context.features, label="keys")
    assert most == [len(layers)]
    first = context.moment(layers[0])
    assert context.moment(layers[0]) is first
    assert energy(torch.eye(len(first)), first) > 0


def test_how_many_keys_are_summed_at_once_changes_no_moment(monkeypatch):
    layer = subjects.bundled().family.mlp_layers[0]
    context = subjects.context(layers=(layer,))
    prompts = context.knowledge.retained[:6]
    whole = context.moments(prompts, context.features, label="keys")[layer]
    sizes = []
    made = SecondMoment.update
    monkeypatch.setattr("space_cli.core.context.KEYS_AT_ONCE", 7)
    monkeypatch.setattr(SecondMoment, "update", lambda self, keys: sizes.append(len(keys)) or made(self, keys))
    parted = context.moments(prompts, context.features, label="keys")[layer]
    assert max(sizes) == 7
    assert sum(sizes) == parted.tokens == whole.tokens
    torch.testing.assert_close(parted.mean(), whole.mean())


def test_prompts_that_share_an_image_stand_together_where_that_is_of_use():
    asked = [Prompt("What is this?" + "?" * more, "An owl.", image) for more, image in ((3, 4), (0, 7), (2, 1), (1, 4))]
    texts = [Prompt("What is an owl?", "A bird."), Prompt("What is it?", "A bird.")]
    prompts = [texts[0], *asked, texts[1]]
    places = [[prompts.index(prompt) for prompt in some] for some in batched(prompts, 2, sharing=True)]
    assert places == [[1, 4], [2, 3], [5, 0]]
    assert [[prompts.index(prompt) for prompt in some] for some in batched(prompts, 2)] == [[2, 4], [3, 1], [5, 0]]
