"""KL minimisation: ascent on the concept's images, the frozen checkpoint's distributions on what is retained.

    published   L = -ℓ_f + ℓ_r + KL(p_0 || p_θ), summed over positions, divided by the prompts of the batch
    textbook    L = -ℓ_f + α · E_r[(1/T) Σ_t KL(p_0 || p_θ)]

References:
    TOFU: A Task of Fictitious Unlearning for LLMs (Maini et al., 2024), arXiv:2401.06121
    MLLMU-Bench: Protecting Privacy in Multimodal Large Language Models (Liu et al., 2024), arXiv:2410.22108

Settings:
    Published: α = 1, LoRA r = 16, α = 16, dropout .05, learning rate 2e-5, batch 4, one epoch. The defaults here suit
    the bundled checkpoint.

Deviations:
    Those of `ga-diff` (opening words that are not scored among them), and:
    - The divergence is taken where tokens count (`loss_on`), never on padding or visual tokens, where the published
      code takes it, too.
"""

from collections.abc import Iterator
from typing import Literal

import torch

from pydantic import Field
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.forget_set import Samples
from space_cli.core.losses import answer_log_likelihood, answer_mask, by_prompt, token_kl
from space_cli.core.tuning import Adapter, Settings, train
from space_cli.core.types import Batch, Edit

NEEDS_IMAGES = True


class Options(Settings):
    """Settings of KL minimisation."""

    retain_batch: int = Field(default=8, ge=1, description="Retained prompts a step")
    form: Literal["published", "textbook"] = Field(default="published", description="Of the retain terms")
    weight: float = Field(default=1.0, ge=0, description="α of the divergence")


def divergences(before: Tensor, after: Tensor, batch: Batch) -> Tensor:
    """Return KL(before || after) summed over the marked positions of each prompt, [b], nats.

    Args:
        before: Frozen logits [a, w].
        after: Edited logits [a, w].
        batch: The prompts.
    """
    return by_prompt(token_kl(before, after), batch).sum(-1)


def published_terms(forget_nll: Tensor, retain_nll: Tensor, divergence: Tensor, weight: float) -> dict[str, Tensor]:
    """Return the terms of the published loss.

    Args:
        forget_nll: Mean negative log p per token of each forget sample, [b].
        retain_nll: The same of each retained prompt, [c].
        divergence: Of each retained prompt, summed over its positions, [c].
        weight: α.
    """
    return {"forget": -forget_nll.mean(), "retain": retain_nll.mean(), "kl": weight * divergence.mean()}


def textbook_terms(forget_nll: Tensor, divergence: Tensor, tokens: Tensor, weight: float) -> dict[str, Tensor]:
    """Return the terms of the textbook loss; `tokens` [c] are the positions that each divergence sums."""
    return {"forget": -forget_nll.mean(), "kl": weight * (divergence / tokens.clamp(min=1)).mean()}


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the adapters on both halves, and yield them."""
    samples = Samples(context, options.loss_on)
    adapter = Adapter(context, rank=options.rank, alpha=options.alpha)

    def terms(step: int) -> dict[str, Tensor]:
        forget, retain = samples.forget(step, options.batch), samples.retain(step, options.retain_batch)
        with torch.no_grad():
            before = samples.retain_logits(retain)
        with context.edited(adapter.factors()):
            forget_nll, after = samples.forget_nll(forget), samples.retain_logits(retain)
        apart = divergences(before, after, retain)
        if options.form == "textbook":
            return textbook_terms(forget_nll, apart, answer_mask(retain).sum(-1), options.weight)
        return published_terms(forget_nll, -answer_log_likelihood(after, retain), apart, options.weight)

    train(context, adapter, options, terms)
    yield from adapter.edits()
