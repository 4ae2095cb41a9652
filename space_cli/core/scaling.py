"""Gradients through a checkpoint in half precision, whose smallest number is too large for them.

LLaVA-1.5 is stored in float16, which holds nothing below 6e-8. The loss of an answer is spread over hundreds of visual
tokens of a thousand features each, and what is left of it for one of them is less than that: it would be zero, and
whoever pushes features, trains or attacks would be told that there is nowhere to go. So a value is multiplied before it
is differentiated, and its gradient divided. The factors are powers of two: where numbers are wide enough, as in float32
and bfloat16, not one bit changes.

References:
    Mixed Precision Training (Micikevicius et al., 2018), arXiv:1710.03740
"""

from collections.abc import Sequence

import torch

from torch import Tensor

SCALES = (2.0**14, 2.0**10, 2.0**5, 1.0)
"""Factors, each for when a gradient is too large for the one before."""


class LossScale:
    """The factor of one run that differentiates again and again.

    Where a gradient is too large with the factor, it counts as zero this once, and the factor is smaller from then on.
    The graph is not kept for another try: its activations are what fills a GPU.
    """

    def __init__(self) -> None:
        self._left = list(SCALES)

    def state(self) -> Tensor:
        """Return what cannot be computed again: the factor, which what was too large has made smaller."""
        return torch.tensor(self._left[0])

    def restore(self, factor: Tensor) -> None:
        """Continue with a saved factor."""
        self._left = [scale for scale in SCALES if scale <= float(factor)]

    def gradients(self, value: Tensor, wanted: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the gradient of a scalar in each tensor, float32; None for what it does not depend on."""
        scale = self._left[0]
        found = torch.autograd.grad(value * scale, list(wanted), allow_unused=True)
        plain: list[Tensor | None] = [None if one is None else one.float() / scale for one in found]
        if len(self._left) == 1 or all(bool(one.isfinite().all()) for one in plain if one is not None):
            return plain
        self._left.pop(0)
        return [None if one is None else one.where(one.isfinite(), 0.0) for one in plain]

    def gradient(self, value: Tensor, wanted: Tensor) -> Tensor:
        """Return the gradient of a scalar in one tensor, float32; zero if it does not depend on it."""
        (found,) = self.gradients(value, [wanted])
        return torch.zeros_like(wanted, dtype=torch.float32) if found is None else found

    def backward(self, loss: Tensor, parameters: Sequence[Tensor]) -> None:
        """Add a loss's gradient to what parameters have, as `Tensor.backward` does."""
        for parameter, gradient in zip(parameters, self.gradients(loss, parameters), strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


class Optimiser(torch.optim.AdamW):
    """AdamW without weight decay, with the factor that its losses are multiplied by.

    Args:
        trained: Parameters.
        lr: Its step.
    """

    def __init__(self, trained: Sequence[Tensor], lr: float) -> None:
        super().__init__(trained, lr=lr, weight_decay=0.0)
        self.trained = tuple(trained)
        self._scale = LossScale()

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradient to what the parameters have."""
        self._scale.backward(loss, self.trained)
