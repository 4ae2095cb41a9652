"""Likelihoods and divergences on answer tokens.

Shapes: b = prompts, t = tokens, w = vocabulary.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from jaxtyping import Bool, Float
from torch import Tensor

from space_cli.core.types import Batch


def answer_mask(batch: Batch) -> Bool[Tensor, "b t"]:
    """Mark the positions whose next token belongs to the answer; the last column is never marked."""
    mask = torch.zeros_like(batch.labels, dtype=torch.bool)
    mask[:, :-1] = batch.labels[:, 1:] != -100
    return mask


def next_labels(batch: Batch) -> Tensor:
    """Return the token that follows each position, [b, t]; 0 where none is asked for."""
    shifted = torch.zeros_like(batch.labels)
    shifted[:, :-1] = batch.labels[:, 1:]
    return shifted.clamp(min=0)


def answer_log_likelihood(logits: Float[Tensor, "b t w"], batch: Batch) -> Float[Tensor, " b"]:
    """Return the mean log p per answer token of each prompt, nats."""
    mask = answer_mask(batch)
    # Of an answer's positions alone: float32 over hundreds of visual tokens and 32,000 words is gigabytes.
    told = F.log_softmax(logits[mask].float(), dim=-1).gather(-1, next_labels(batch)[mask][:, None])[:, 0]
    picked = torch.zeros(mask.shape, dtype=told.dtype, device=told.device).masked_scatter(mask, told)
    return picked.sum(-1) / mask.sum(-1).clamp(min=1)


def first_token(batch: Batch) -> Batch:
    """Return the prompts with no more than the first token of each answer to be scored."""
    told = batch.labels != -100
    return replace(batch, labels=batch.labels.masked_fill(told.cumsum(-1) > 1, -100))


def token_kl(
    before: Float[Tensor, "b t w"], after: Float[Tensor, "b t w"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Return the mean KL(before || after) over marked positions, nats per token."""
    old, new = F.log_softmax(before[mask].float(), -1), F.log_softmax(after[mask].float(), -1)
    return F.kl_div(new, old, reduction="none", log_target=True).sum(-1).mean()
