"""Gradient difference: ascent on the concept's images, descent on what is retained.

    L = -ℓ_f + λ_r·ℓ_r          ℓ = mean negative log p per answer token

References:
    Continual Learning and Private Unlearning (Liu et al., 2022), arXiv:2203.12817
    MLLMU-Bench: Protecting Privacy in Multimodal Large Language Models (Liu et al., 2024), arXiv:2410.22108

Settings:
    Published: λ_r = 1, LoRA r = 16, α = 16, dropout .05, learning rate 2e-5, batch 4, one epoch. The defaults here suit
    the bundled checkpoint.

Deviations:
    Those of `ga` (opening words that are not scored among them), and:
    - Both terms are in every step; MLLMU-Bench runs all forget batches first and all retain batches after them.
    - The retain samples are retained prompts with the checkpoint's own answers, text only in every fourth step; the
      published ones are a labelled retain set.
"""

from collections.abc import Iterator

from pydantic import Field
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.forget_set import Samples
from space_cli.core.tuning import Adapter, Settings, train
from space_cli.core.types import Edit

NEEDS_IMAGES = True


class Options(Settings):
    """Settings of gradient difference."""

    retain_batch: int = Field(default=8, ge=1, description="Retained prompts a step")
    lambda_retain: float = Field(default=1.0, ge=0, description="λ_r")


def loss_terms(forget_nll: Tensor, retain_nll: Tensor, lambda_retain: float) -> dict[str, Tensor]:
    """Return the terms of the loss.

    Args:
        forget_nll: Mean negative log p per token of each forget sample, [b].
        retain_nll: The same of each retained prompt, [c].
        lambda_retain: λ_r.
    """
    return {"forget": -forget_nll.mean(), "retain": lambda_retain * retain_nll.mean()}


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the adapters on both halves, and yield them."""
    samples = Samples(context, options.loss_on)
    adapter = Adapter(context, rank=options.rank, alpha=options.alpha)

    def terms(step: int) -> dict[str, Tensor]:
        forget, retain = samples.forget(step, options.batch), samples.retain(step, options.retain_batch)
        with context.edited(adapter.factors()):
            return loss_terms(samples.forget_nll(forget), samples.retain_nll(retain), options.lambda_retain)

    train(context, adapter, options, terms)
    yield from adapter.edits()
