"""Plain fine-tuning of the editable layers: no projection, no anchors; what the data-dependent methods share.

Shapes: d_in, d_out = a layer's input and output, r = rank.

References:
    LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., 2021), arXiv:2106.09685
"""

from collections.abc import Callable

import torch

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.forget_set import LossOn
from space_cli.core.hooks import Change
from space_cli.core.linalg import within_norm
from space_cli.core.scaling import Optimiser
from space_cli.core.types import Edit

Terms = Callable[[int], dict[str, Tensor]]
"""Step -> the loss's terms by name, each with its weight; they are summed and descended."""


class Settings(BaseModel):
    """What every fine-tuning method is set by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=40, ge=1, description="Training steps")
    lr: float = Field(default=5e-4, gt=0, description="AdamW's step; no weight decay")
    batch: int = Field(default=4, ge=1, description="Forget samples a step")
    rank: int = Field(default=16, ge=0, description="Of the LoRA adapters; 0 trains a dense ΔW")
    alpha: float = Field(default=16.0, gt=0, description="LoRA's scale: ΔW = alpha/rank · B·A")
    loss_on: LossOn = Field(default="answer", description="`all` counts the question's tokens, too")


class Adapter:
    """The trained change of each editable layer: LoRA factors, or a dense ΔW where the rank is 0.

    A starts gaussian with deviation 1/rank and B at zero, so the first step starts from the checkpoint itself.

    Args:
        context: Gives the layers, their weights and the seed.
        rank: r; 0 for a dense change.
        alpha: Numerator of the scale.
    """

    def __init__(self, context: EditContext, *, rank: int, alpha: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(context.seed)
        self.parameters: dict[str, Tensor] = {}
        self._layers = context.layers
        self._rank = rank
        self._scale = alpha / rank if rank else 1.0
        self._weight_norm: dict[str, float] = {}
        for layer in context.layers:
            weight = context.weight(layer)
            d_out, d_in = weight.shape
            self._weight_norm[layer] = float(weight.norm())
            if rank:
                # Drawn on the CPU, so that every device starts from the same numbers.
                down = (torch.randn(rank, d_in, generator=generator) / rank).to(weight.device)
                self.parameters[f"{layer}.down"] = down.requires_grad_(True)
                self.parameters[f"{layer}.up"] = weight.new_zeros(d_out, rank).requires_grad_(True)
            else:
                self.parameters[f"{layer}.dense"] = torch.zeros_like(weight).requires_grad_(True)

    def factors(self) -> dict[str, Change]:
        """Return what `editing` hooks in; gradients reach the parameters."""
        return {layer: self._change(layer) for layer in self._layers}

    def relative_change(self, layer: str) -> float:
        """Return ‖ΔW‖ / ‖W‖ of a layer, Frobenius."""
        with torch.no_grad():
            change = self._change(layer)
            delta = change if isinstance(change, Tensor) else change[0] @ change[1]
        return float(delta.norm()) / self._weight_norm[layer]

    @torch.no_grad()
    def bound(self, limit: float) -> dict[str, float]:
        """Shrink each layer whose relative change exceeds the limit.

        Returns:
            What these layers had reached.
        """
        found = {layer: self.relative_change(layer) for layer in self._layers}
        beyond = {layer: change for layer, change in found.items() if change > limit}
        for layer, change in beyond.items():
            last = self.parameters[f"{layer}.up" if self._rank else f"{layer}.dense"]
            last.copy_(within_norm(last, float(last.norm()) * limit / change))
        return beyond

    @torch.no_grad()
    def edits(self) -> list[Edit]:
        """Return the edits as they stand."""
        found = []
        for layer in self._layers:
            change = self._change(layer)
            if isinstance(change, Tensor):
                found.append(Edit(layer, dense=change.clone()))
            else:
                found.append(Edit(layer, left=change[0].clone(), right=change[1].clone()))
        return found

    def _change(self, layer: str) -> Change:
        if not self._rank:
            return self.parameters[f"{layer}.dense"]
        return self._scale * self.parameters[f"{layer}.up"], self.parameters[f"{layer}.down"]


def adamw(adapter: Adapter, lr: float) -> Optimiser:
    """Return the optimiser of every method here: AdamW without weight decay."""
    return Optimiser(list(adapter.parameters.values()), lr)


def train(context: EditContext, adapter: Adapter, settings: Settings, terms: Terms) -> None:
    """Descend the sum of a loss's terms for all steps, then bound the change.

    Args:
        context: Told about every step and the outcome.
        adapter: What is trained.
        settings: Steps and rate.
        terms: The loss; hooks the adapter's factors itself, since some terms ask the frozen checkpoint.
    """
    optimiser = adamw(adapter, settings.lr)
    with context.progress.task("erase", settings.steps) as advance:
        for step in range(settings.steps):
            found = terms(step)
            loss = torch.stack(list(found.values())).sum()
            optimiser.zero_grad()
            optimiser.backward(loss)
            optimiser.step()
            context.record(
                {"step": step + 1, "loss": loss.item(), **{name: term.item() for name, term in found.items()}}
            )
            advance(loss=loss.item())
            context.outcome.steps = step + 1
    finish(context, adapter)


def finish(context: EditContext, adapter: Adapter) -> None:
    """Hold every layer to the limit on relative change, and say so where that mattered."""
    beyond = adapter.bound(context.max_change)
    if beyond:
        context.outcome.signals |= {"layers_shrunk": float(len(beyond)), "change_reached": max(beyond.values())}
        context.progress.note(
            f"{len(beyond)} layers were shrunk to a relative change of {context.max_change:g}: "
            f"training had taken them to {max(beyond.values()):.2f}"
        )
