"""Likelihoods and divergences on answer tokens.

Logits come for an answer's positions alone, row after row: over hundreds of visual tokens and 32,000 words they would
be gigabytes, which nothing reads.

Shapes: b = prompts, t = tokens, a = positions of all prompts whose next token is an answer's, w = vocabulary.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from space_cli.core.types import Batch


def answer_mask(batch: Batch) -> Bool[Tensor, "b t"]:
    """Mark the positions whose next token belongs to the answer; the last column is never marked."""
    mask = torch.zeros_like(batch.labels, dtype=torch.bool)
    mask[:, :-1] = batch.labels[:, 1:] != -100
    return mask


def next_labels(batch: Batch) -> Int[Tensor, " a"]:
    """Return the answer's tokens, prompt after prompt: what the marked positions are followed by."""
    return batch.labels[:, 1:][batch.labels[:, 1:] != -100]


def split(values: Shaped[Tensor, "a ..."], batch: Batch) -> tuple[Tensor, ...]:
    """Return values of the marked positions, those of each prompt apart."""
    lengths: list[int] = answer_mask(batch).sum(-1).tolist()
    parts: tuple[Tensor, ...] = values.split(lengths)
    return parts


def by_prompt(values: Shaped[Tensor, " a"], batch: Batch) -> Shaped[Tensor, "b t"]:
    """Return values of the marked positions in their places, 0 elsewhere."""
    mask = answer_mask(batch)
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def token_log_likelihood(logits: Float[Tensor, "a w"], batch: Batch) -> Float[Tensor, " a"]:
    """Return log p of each answer token, nats."""
    return F.log_softmax(logits.float(), dim=-1).gather(-1, next_labels(batch)[:, None])[:, 0]


def answer_log_likelihood(logits: Float[Tensor, "a w"], batch: Batch) -> Float[Tensor, " b"]:
    """Return the mean log p per answer token of each prompt, nats."""
    told = by_prompt(token_log_likelihood(logits, batch), batch)
    return told.sum(-1) / answer_mask(batch).sum(-1).clamp(min=1)


def first_token(batch: Batch) -> Batch:
    """Return the prompts with no more than the first token of each answer to be scored."""
    told = batch.labels != -100
    return replace(batch, labels=batch.labels.masked_fill(told.cumsum(-1) > 1, -100))


def token_kl(before: Float[Tensor, "a w"], after: Float[Tensor, "a w"]) -> Float[Tensor, " a"]:
    """Return KL(before || after) at each position, nats."""
    old, new = F.log_softmax(before.float(), -1), F.log_softmax(after.float(), -1)
    return F.kl_div(new, old, reduction="none", log_target=True).sum(-1)
