"""MMUnlearner: ascent on the concept's images, on the weights that matter more for them than for the rest.

    m   = 1[(F_T + 1e-15) / (F_P + 1e-15) >= τ]          F_D = mean over batches of (∇ L_D)², at the frozen weights
    g   = ∇ ℓ_r on retain steps,   -m ⊙ ∇ ℓ_f on forget steps, clipped before the mask;  AdamW on g
    T   = the concept's images;  P = retained images, and for the decoder the text-only questions, too

References:
    MMUnlearner: Reformulating Multimodal Machine Unlearning in the Era of Multimodal Large Language Models (Huo et al.,
    2025), arXiv:2502.11051

Settings:
    Published: τ = 1, learning rate 1e-5, batch 4, one epoch, clip 1.0, answer tokens only. The defaults here suit the
    bundled checkpoint.

Deviations:
    - What is trained is a dense ΔW of the layers of `--scope`, and the mask is computed on exactly these parameters.
      The published code keys its masks by base-weight names; under LoRA, as it trains LLaVA, the base is frozen, so no
      name ever matches and the mask does nothing. A mask on fresh LoRA factors would not help: with B at zero the
      gradient of A is zero on both sets, and its ratio is 1 everywhere.
    - Kept as published, though it weakens the mask: it acts on the gradient before AdamW, whose moments are shared with
      the retain steps, so masked entries still move in a forget step. There is no weight decay, which moves them, too.
    - A layer that text-only questions never reach (the connector) is compared with retained images alone; the published
      code says so by module names.
    - Samples are those of `ga-diff`: the opening words before the name ("This is") are given and not scored.
    - `space erase` bounds the change as for `ga`.
    - A number of steps replaces the epoch, and a forget step follows every `every` retain steps (0 takes the ratio of
      the two sets' sizes, as published). At most `saliency_batches` batches of each set make the mask.
    - At the published τ the mask may let hardly anything through where what is retained is as salient as the concept:
      `mask_share` of the receipt tells the share, and a smaller τ lets more through.
"""

from collections.abc import Iterator, Sequence

import torch

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.context import EditContext, batched
from space_cli.core.errors import GateRefusal
from space_cli.core.forget_set import LossOn, Samples
from space_cli.core.scaling import LossScale, Optimiser
from space_cli.core.tuning import Adapter, adamw, finish
from space_cli.core.types import Batch, Edit, Prompt

NEEDS_IMAGES = True
TINY = 1e-15
"""Added to both sides of the ratio, as published; an entry that neither set touches has the ratio 1."""


class Options(BaseModel):
    """Settings of MMUnlearner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=60, ge=1, description="Retain steps")
    lr: float = Field(default=2e-4, gt=0, description="AdamW's step; no weight decay")
    batch: int = Field(default=4, ge=1, description="Forget samples a forget step, and a batch of the saliency")
    retain_batch: int = Field(default=8, ge=1, description="Retained prompts a step")
    every: int = Field(default=2, ge=0, description="Retain steps to one forget step; 0 for the ratio of the sets")
    tau: float = Field(default=1.0, gt=0, description="τ: the least ratio of saliencies that an entry is trained at")
    clip: float = Field(default=1.0, gt=0, description="Norm of the forget gradient at most")
    saliency_batches: int = Field(default=32, ge=1, description="Batches of each set that make the mask")
    loss_on: LossOn = Field(default="answer", description="`all` counts the question's tokens, too")


def saliency_mask(target: Tensor, preserve: Tensor, tau: float) -> Tensor:
    """Return where the target's saliency is at least τ times the other's; bool, of their shape."""
    return (target + TINY) / (preserve + TINY) >= tau


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Compute the mask, train with it, and yield dense edits."""
    samples = Samples(context, options.loss_on)
    adapter = Adapter(context, rank=0)
    masks = _masks(context, samples, adapter, options)
    optimiser = adamw(adapter, options.lr)
    every = options.every or max(1, len(context.knowledge.retained) // len(samples.named))
    with context.progress.task("erase", options.steps) as advance:
        for step in range(options.steps):
            retain = samples.retain(step, options.retain_batch)
            with context.edited(adapter.factors()):
                kept = samples.retain_nll(retain).mean()
            optimiser.zero_grad()
            if kept.requires_grad:  # words alone pass no connector: where it is all that is trained, they move nothing
                optimiser.backward(kept)
            optimiser.step()
            row = {"step": step + 1, "retain": kept.item()}
            if (step + 1) % every == 0:
                forget = samples.forget(step, options.batch)
                row["forget"] = _forget_step(context, samples, adapter, forget, masks, options.clip, optimiser)
            row["loss"] = row["retain"] + row.get("forget", 0.0)
            context.record(row)
            advance(loss=row["loss"])
            context.outcome.steps = step + 1
    finish(context, adapter)
    yield from adapter.edits()


def _forget_step(
    context: EditContext,
    samples: Samples,
    adapter: Adapter,
    forget: Batch,
    masks: dict[str, Tensor],
    clip: float,
    optimiser: Optimiser,
) -> float:
    """Ascend on forget samples through the mask, and return the loss."""
    with context.edited(adapter.factors()):
        loss = -samples.forget_nll(forget).mean()
    optimiser.zero_grad()
    optimiser.backward(loss)
    torch.nn.utils.clip_grad_norm_(adapter.parameters.values(), clip)
    for name, parameter in adapter.parameters.items():
        if parameter.grad is not None:
            parameter.grad.mul_(masks[name])
    optimiser.step()
    return loss.item()


def _masks(context: EditContext, samples: Samples, adapter: Adapter, options: Options) -> dict[str, Tensor]:
    """Return the mask of each trained parameter.

    Raises:
        GateRefusal: No entry is let through, or every one is, so that there is no mask at all; or there is nothing to
            retain.
    """
    # A text-only question may stand among the retained prompts several times.
    kept_prompts = list(dict.fromkeys(prompt for pool in samples.retained_pools() for prompt in pool))
    with context.progress.task("saliency") as advance:
        target = _saliency(context, samples, adapter, samples.named, options, about_concept=True)
        advance()
        preserve = _saliency(context, samples, adapter, kept_prompts, options, about_concept=False)
        advance()
    masks = {name: saliency_mask(target[name], preserve[name], options.tau) for name in adapter.parameters}
    kept = sum(int(mask.sum()) for mask in masks.values())
    total = sum(mask.numel() for mask in masks.values())
    if kept in {0, total}:
        raise GateRefusal(
            f"the saliency mask lets {kept} of {total} entries through: it separates nothing",
            hint="try another `--set tau=…`",
            figures={"mask_share": kept / total},
        )
    context.outcome.signals["mask_share"] = kept / total
    return {name: mask.to(adapter.parameters[name].dtype) for name, mask in masks.items()}


def _saliency(
    context: EditContext,
    samples: Samples,
    adapter: Adapter,
    prompts: Sequence[Prompt],
    options: Options,
    *,
    about_concept: bool,
) -> dict[str, Tensor]:
    """Return the mean squared gradient by parameter, over the batches that reach it."""
    batches = samples.draw(list(batched(prompts, options.batch)), options.saliency_batches, 0, "saliency")
    sums = {name: torch.zeros_like(parameter) for name, parameter in adapter.parameters.items()}
    counts, scale = dict.fromkeys(sums, 0), LossScale()
    for chosen in batches:
        batch = samples.batch(chosen)
        with context.edited(adapter.factors()):
            nll = samples.forget_nll(batch) if about_concept else samples.retain_nll(batch)
        if not nll.requires_grad:  # a question of words alone, where nothing but the connector is trained
            continue
        found = scale.gradients(nll.mean(), list(adapter.parameters.values()))
        for name, gradient in zip(adapter.parameters, found, strict=True):
            if gradient is not None:
                sums[name] += gradient.detach() ** 2
                counts[name] += 1
    return {name: total / max(counts[name], 1) for name, total in sums.items()}
