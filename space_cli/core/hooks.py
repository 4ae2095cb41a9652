"""Watch or change linear layers for the length of a `with` block; every hook is removed at its end.

Shapes: n = tokens, i = width of a layer's input, o = of its output, r = rank of a change.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

Watcher = Callable[[str, Tensor], None]
"""Called with a layer's name and its input, [..., i]."""


@contextmanager
def watching(model: nn.Module, layers: Sequence[str], watcher: Watcher) -> Generator[None]:
    """Show the input of each named linear to `watcher`."""

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: watcher(name, inputs[0])

    handles = [model.get_submodule(name).register_forward_pre_hook(hook_for(name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


Change = tuple[Tensor, Tensor] | Tensor
"""Low-rank factors (left [o, r], right [r, i]), or a dense ΔW [o, i]."""
LARGE = 4_000_000
"""Entries of a weight from which on no sum with a change is made: beside its widths a rank is small, and each sum would
take as much memory as the layer."""


@contextmanager
def editing(model: nn.Module, changes: Mapping[str, Change]) -> Generator[None]:
    """Add a change to the weight of each named linear, without touching the weight.

    Args:
        model: Holds the layers.
        changes: By layer name; gradients reach those that require them, and those that do not stay as they are while
            the block lasts.
    """
    with ExitStack() as stack:
        for name, change in changes.items():
            stack.callback(_added(model.get_submodule(name), change))
        yield


def fixed(changes: Mapping[str, Change]) -> dict[str, Change]:
    """Return changes that no gradient reaches: nothing is worked out for one, and sums are cheaper (`editing`)."""
    return {
        layer: change.detach() if isinstance(change, Tensor) else (change[0].detach(), change[1].detach())
        for layer, change in changes.items()
    }


def _added(layer: nn.Module, change: Change) -> Callable[[], object]:
    """Change what a layer answers, and return what takes the change off again."""
    # Only of a plain linear is it known what its weight is. A layer that is changed already gets more beside it.
    if type(layer) is not nn.Linear or "forward" in vars(layer) or layer.weight.numel() > LARGE:
        return layer.register_forward_hook(lambda _, inputs, output: output + _beside(inputs[0], change)).remove
    vars(layer)["forward"] = _Changed(layer, change)
    return lambda: vars(layer).pop("forward")


def _beside(inputs: Tensor, change: Change) -> Tensor:
    """Return what a change adds to a layer's output, [..., o]."""
    if isinstance(change, Tensor):
        return inputs @ change.T.to(inputs)
    left, right = change
    return (inputs @ right.T.to(inputs)) @ left.T.to(inputs)


class _Changed:
    """What a linear answers with a change, by the sum of both weights: one beside the other takes more products.

    A rank that is not small beside the layer's widths, as 64 beside 192 and 512, costs as much again as the layer.

    Args:
        layer: Whose answers.
        change: To its weight.
    """

    def __init__(self, layer: nn.Linear, change: Change) -> None:
        self._layer = layer
        self._change = change
        self._sum: Tensor | None = None  # of what stays as it is

    def __call__(self, inputs: Tensor) -> Tensor:
        layer, change = self._layer, self._change
        if not any(part.requires_grad for part in ((change,) if isinstance(change, Tensor) else change)):
            return F.linear(inputs, self._summed(), layer.bias)
        if isinstance(change, Tensor):
            return F.linear(inputs, layer.weight + change.to(layer.weight), layer.bias)
        left, right = change
        if right.requires_grad:  # as of adapters, whose rank is small
            return F.linear(inputs, layer.weight, layer.bias) + _beside(inputs, change)
        product: Any = _LeftTrained.apply
        trained: Tensor = product(inputs, left, right, layer.weight, layer.bias)
        return trained

    def _summed(self) -> Tensor:
        if self._sum is None:
            # A sum made under inference mode would be of no use to a later gradient.
            with torch.inference_mode(False), torch.no_grad():
                change = self._change if isinstance(self._change, Tensor) else self._change[0] @ self._change[1]
                self._sum = self._layer.weight + change.to(self._layer.weight)
        return self._sum


class _LeftTrained(torch.autograd.Function):
    """A linear with the sum of its weight and `left @ right`, of which inputs and `left` get gradients.

    To go back through the sum, autograd would work out a gradient of all its entries.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, inputs: Tensor, left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        summed = weight + (left @ right).to(weight)
        ctx.save_for_backward(inputs, right, summed)
        return F.linear(inputs, summed, bias)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept: Any = ctx
        (gradient,), (inputs, right, summed) = gradients, kept.saved_tensors
        to_inputs, to_left, *_ = kept.needs_input_grad
        onward = gradient @ summed if to_inputs else None
        if not to_left:
            return onward, None, None, None, None
        seen = inputs.reshape(-1, inputs.shape[-1]) @ right.T.to(inputs)
        return onward, (gradient.reshape(len(seen), -1).T @ seen).to(right), None, None, None
