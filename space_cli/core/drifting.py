"""How far an erasure has moved the answers to single prompts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from space_cli.core.context import STATISTICS_BATCH, EditContext, Factors, batched
from space_cli.core.losses import answer_mask, by_prompt, token_kl
from space_cli.core.types import Prompt


class Drift(NamedTuple):
    """Of one prompt's answer."""

    nats: float  # KL(before the first request || edited), all tokens together
    tokens: int


@torch.inference_mode()
def drifts(context: EditContext, prompts: Sequence[Prompt], factors: Factors) -> list[Drift]:
    """Return the drift of each prompt, in their order."""
    found: dict[Prompt, Drift] = {}
    for some, reference in context.referred(prompts, context.features):
        for chosen in batched(some, STATISTICS_BATCH):
            batch = context.responder.batch(chosen)
            with context.edited(reference):
                before = context.responder.answer_logits(batch, context.features)
            with context.edited(factors):
                after = context.responder.answer_logits(batch, context.features)
            nats = by_prompt(token_kl(before, after), batch).sum(-1)
            tokens = answer_mask(batch).sum(-1)
            found |= dict(zip(chosen, map(Drift, nats.tolist(), tokens.tolist()), strict=True))
    return [found[prompt] for prompt in prompts]
