"""One perturbation of the pixels for all pictures, by projected gradient steps.

Shapes: n = images, s = pixels of a side.

References:
    Universal adversarial perturbations (Moosavi-Dezfooli et al., 2017), arXiv:1610.08401.

Deviations:
    - Signed steps on random batches in place of their accumulation picture by picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from jaxtyping import Float
from torch import Tensor

from space_cli.core.scaling import LossScale

Objective = Callable[[Tensor], Tensor]
"""Pixels [b, 3, s, s] -> what to raise, [b]."""


@dataclass(frozen=True)
class Perturbing:
    """Budget of a universal perturbation."""

    steps: int = 60
    reach: float = 8 / 255  # of any pixel, on the scale from 0 to 1
    pace: float = 1 / 255
    batch: int = 8


def universal(
    objective: Objective, pixels: Float[Tensor, "n 3 s s"], options: Perturbing, generator: torch.Generator
) -> Float[Tensor, "3 s s"]:
    """Return one shift that raises the objective on all pictures together.

    Args:
        objective: Differentiable in the pixels.
        pixels: Pictures to learn on, from 0 to 1.
        options: Budget.
        generator: Draws the batches, on the CPU.
    """
    shift = torch.zeros_like(pixels[0])
    scale = LossScale()
    for _ in range(options.steps):
        rows = torch.randperm(len(pixels), generator=generator)[: options.batch]
        shift.requires_grad_(True)
        gradient = scale.gradient(objective(shifted(pixels[rows], shift)).sum(), shift)
        shift = (shift.detach() + options.pace * gradient.sign()).clamp(-options.reach, options.reach)
    return shift


def shifted(pixels: Float[Tensor, "n 3 s s"], shift: Float[Tensor, "3 s s"]) -> Float[Tensor, "n 3 s s"]:
    """Return the pictures with the shift, no darker than black and no brighter than white."""
    return (pixels + shift).clamp(0, 1)
