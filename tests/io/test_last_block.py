"""What the last block leaves out changes no logit, no gradient and nothing that is read at every token."""

import pytest
import subjects
import torch

from test_shared_prefix import factors, features, prompts

from space_cli.core.hooks import editing, watching
from space_cli.core.losses import answer_mask

LAST = "model.language_model.layers.3.mlp.down_proj"


def asked(shared):
    return prompts() if shared else prompts()[:3]


def slowly(responder, batch, shown):
    return responder._head(responder.read(batch, shown)[answer_mask(batch)])


@pytest.mark.parametrize("shared", [True, False])
def test_logits_and_gradients_are_those_of_a_decoder_that_leaves_nothing_out(shared):
    responder = subjects.bundled()
    shown, batch = features().requires_grad_(True), responder.batch(asked(shared))
    change = factors([LAST, LAST.replace("layers.3", "layers.1")])
    wanted = [shown, *(left for left, _ in change.values())]
    with editing(responder.model, change):
        fast = responder.answer_logits(batch, shown)
        slow = slowly(responder, batch, shown)
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)
        weights = torch.randn(slow.shape, generator=torch.Generator().manual_seed(1))
        quick, plain = (torch.autograd.grad((one * weights).sum(), wanted) for one in (fast, slow))
    for one, other in zip(quick, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_the_last_mlp_sees_what_is_read_and_every_token_where_all_are(shared):
    responder, seen = subjects.bundled(), []
    shown, batch = features(), responder.batch(asked(shared))
    with torch.no_grad(), watching(responder.model, [LAST], lambda _, inputs: seen.append(inputs.shape[:-1].numel())):
        responder.answer_logits(batch, shown)
        responder.read(batch, shown)
    # An opening that prompts share is read first, every token of it.
    assert seen[-2:] == [int(answer_mask(batch).sum()), batch.ids.numel()]


def test_texts_and_prompts_without_an_answer_are_read_too():
    responder = subjects.bundled()
    some = responder.batch([p for p in subjects.context().knowledge.texts[:3]])
    torch.testing.assert_close(responder.answer_logits(some, None), slowly(responder, some, None), rtol=1e-4, atol=1e-4)
    none = responder.batch([type(prompts()[0])("What is this?", "", 0, ends=False)])
    assert len(responder.answer_logits(none, features())) == 0
