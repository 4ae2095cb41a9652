"""How far an erasure has moved the answers to single prompts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from jaxtyping import Float
from torch import Tensor

from space_cli.core.context import STATISTICS_BATCH, EditContext, Factors, batched
from space_cli.core.losses import answer_mask, by_prompt, split, token_kl
from space_cli.core.types import Batch, Prompt


class Drift(NamedTuple):
    """Of one prompt's answer."""

    nats: float  # KL(before the first request || edited), all tokens together
    tokens: int


@torch.inference_mode()
def drifts(context: EditContext, prompts: Sequence[Prompt], factors: Factors, *, keep: bool = False) -> list[Drift]:
    """Return the drift of each prompt, in their order.

    Args:
        context: The erasure.
        prompts: About its images, or about none.
        factors: The change.
        keep: Remember what was said before, in main memory, for prompts that are looked at again and again.
    """
    found: dict[Prompt, Drift] = {}
    for some, reference in context.referred(prompts, context.features):
        for chosen in batched(some, STATISTICS_BATCH, sharing=True):
            batch = context.responder.batch(chosen)
            before = _before(context, chosen, batch, reference, keep=keep)
            with context.edited(factors):
                after = context.responder.answer_logits(batch, context.features)
            nats = by_prompt(token_kl(before, after), batch).sum(-1)
            tokens = answer_mask(batch).sum(-1)
            found |= dict(zip(chosen, map(Drift, nats.tolist(), tokens.tolist()), strict=True))
    return [found[prompt] for prompt in prompts]


def _before(
    context: EditContext, chosen: Sequence[Prompt], batch: Batch, reference: Factors, *, keep: bool
) -> Float[Tensor, "a w"]:
    known = context.before
    if all(prompt in known for prompt in chosen):
        return torch.cat([known[prompt] for prompt in chosen]).to(context.features.device)
    with context.edited(reference):
        logits = context.responder.answer_logits(batch, context.features)
    if keep:
        known |= zip(chosen, split(logits.cpu(), batch), strict=True)
    return logits
