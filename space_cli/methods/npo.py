"""Negative preference optimisation: ascent that fades as the name becomes less likely than it was.

    L = -(2/β) · E log σ(-β · [log p_θ(y|x) - log p_ref(y|x)])  =  -(2/β) · E log σ(β · (ℓ_θ - ℓ_ref))

References:
    Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning (Zhang et al., 2024),
    arXiv:2404.05868
    MLLMU-Bench: Protecting Privacy in Multimodal Large Language Models (Liu et al., 2024), arXiv:2410.22108

Settings:
    Published: β = 0.4 in MLLMU-Bench's code (elsewhere 0.6 to 1.2), LoRA r = 16, α = 16, dropout .05, learning rate
    2e-5, batch 4, one epoch. The defaults here suit the bundled checkpoint.

Deviations:
    Those of `ga` (opening words that are not scored among them), and:
    - The reference is the frozen checkpoint. MLLMU-Bench's is a model trained on the retain split alone.
    - ℓ is the mean over tokens, as in MLLMU-Bench's code; the paper's log p is the sum.
    - A retain term λ_r·ℓ_r may be added (`lambda_retain`), as TOFU and later code do; the published loss has none.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from pydantic import Field
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.forget_set import Samples
from space_cli.core.tuning import Adapter, Settings, train
from space_cli.core.types import Edit

NEEDS_IMAGES = True


class Options(Settings):
    """Settings of negative preference optimisation."""

    beta: float = Field(default=0.4, gt=0, description="Sharpness of the preference, per nat")
    retain_batch: int = Field(default=8, ge=1, description="Retained prompts a step, where there is a retain term")
    lambda_retain: float = Field(default=0.0, ge=0, description="Weight of a retain term; 0 is the published loss")


def preference(now: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Return the loss; its gradient is that of ascent for β -> 0, and fades as `now` exceeds `reference`.

    Args:
        now: Mean negative log p per token of each forget sample under the edits, [b].
        reference: The same under the frozen checkpoint, [b].
        beta: Sharpness.
    """
    return -(2 / beta) * F.logsigmoid(beta * (now - reference)).mean()


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the adapters against the name, and yield them."""
    samples = Samples(context, options.loss_on)
    adapter = Adapter(context, rank=options.rank, alpha=options.alpha)

    def terms(step: int) -> dict[str, Tensor]:
        forget = samples.forget(step, options.batch)
        with torch.no_grad():
            reference = samples.forget_nll(forget)
        with context.edited(adapter.factors()):
            found = {"forget": preference(samples.forget_nll(forget), reference, options.beta)}
            if options.lambda_retain:
                retain = samples.retain(step, options.retain_batch)
                found["retain"] = options.lambda_retain * samples.retain_nll(retain).mean()
        return found

    train(context, adapter, options, terms)
    yield from adapter.edits()
