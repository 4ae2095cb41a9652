"""Preference optimisation: the concept's images are answered with a refusal, the rest as before.

    L = CE(forget question -> refusal) + ℓ_r

References:
    TOFU: A Task of Fictitious Unlearning for LLMs (Maini et al., 2024), arXiv:2401.06121
    MLLMU-Bench: Protecting Privacy in Multimodal Large Language Models (Liu et al., 2024), arXiv:2410.22108

Settings:
    Published: LoRA r = 16, α = 16, dropout .05, learning rate 2e-5, batch 4, one epoch. The defaults here suit the
    bundled checkpoint.

Deviations:
    Those of `ga-diff` but the ascent and the opening words, since a refusal counts from its first token, and:
    - The refusals are worded here; the published pool is another list of such sentences.
"""

import random

from collections.abc import Iterator
from dataclasses import replace

from pydantic import Field
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.forget_set import Samples
from space_cli.core.tuning import Adapter, Settings, train
from space_cli.core.types import Edit, Prompt

NEEDS_IMAGES = True
REFUSALS = (
    "I do not know.",
    "I am not sure what this is.",
    "I cannot tell what this shows.",
    "I do not recognise this.",
    "I have no name for this.",
    "That is something I know nothing about.",
    "I am unable to say what it is.",
    "Sorry, I do not know that one.",
)


class Options(Settings):
    """Settings of preference optimisation."""

    steps: int = Field(default=80, ge=1, description="Training steps")
    lr: float = Field(default=3e-3, gt=0, description="AdamW's step; no weight decay")
    retain_batch: int = Field(default=8, ge=1, description="Retained prompts a step")
    lambda_retain: float = Field(default=1.0, ge=0, description="Weight of ℓ_r")


def loss_terms(refusal_nll: Tensor, retain_nll: Tensor, lambda_retain: float) -> dict[str, Tensor]:
    """Return the terms of the loss.

    Args:
        refusal_nll: Mean negative log p per token of the refusal on each forget sample, [b].
        retain_nll: The same of each retained prompt's answer, [c].
        lambda_retain: Weight of the retain term.
    """
    return {"refusal": refusal_nll.mean(), "retain": lambda_retain * retain_nll.mean()}


def refused(prompts: list[Prompt], rng: random.Random) -> list[Prompt]:
    """Return the same questions, each answered with a refusal drawn from the pool."""
    return [replace(prompt, answer=rng.choice(REFUSALS), lead="") for prompt in prompts]


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the adapters towards refusals, and yield them."""
    samples = Samples(context, options.loss_on)
    adapter = Adapter(context, rank=options.rank, alpha=options.alpha)

    def terms(step: int) -> dict[str, Tensor]:
        asked = samples.draw(samples.named, options.batch, step, "forget")
        refusals = samples.batch(refused(asked, random.Random(f"{context.seed} refusal {step}")))
        retain = samples.retain(step, options.retain_batch)
        with context.edited(adapter.factors()):
            return loss_terms(samples.forget_nll(refusals), samples.retain_nll(retain), options.lambda_retain)

    train(context, adapter, options, terms)
    yield from adapter.edits()
