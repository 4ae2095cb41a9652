"""A linear classifier of hidden states, judged on images it was not fitted to.

Shapes: n = images, h = width.
"""

import torch

from jaxtyping import Bool, Float
from torch import Tensor

RIDGE = 0.1
"""Share of the states' mean energy: there are far more dimensions than images."""


def cross_validated(
    states: Float[Tensor, "n h"], labels: Bool[Tensor, " n"], folds: int, generator: torch.Generator
) -> Bool[Tensor, " n"]:
    """Return which images are told apart rightly by a classifier fitted without them.

    Each fold has its share of either label; states are standardised by what is fitted on.

    Args:
        states: One row an image.
        labels: What to tell apart.
        folds: Parts; each is judged by a classifier of the others.
        generator: Draws the folds, on the CPU.
    """
    part = torch.empty(len(states), dtype=torch.int64)
    for label in (True, False):
        rows = (labels.cpu() == label).nonzero()[:, 0]
        part[rows[torch.randperm(len(rows), generator=generator)]] = torch.arange(len(rows)) % folds
    values, signs = states.double().cpu(), labels.cpu().double() * 2 - 1
    right = torch.zeros(len(states), dtype=torch.bool)
    for fold in range(folds):
        held = part == fold
        if held.any() and not held.all():
            right[held] = _predicted(values[~held], signs[~held], values[held]) == (signs[held] > 0)
    return right


def _predicted(
    fitted: Float[Tensor, "m h"], signs: Float[Tensor, " m"], held: Float[Tensor, "k h"]
) -> Bool[Tensor, " k"]:
    """Return the sign of ridge regression's answer, solved between images: there are fewer of them than dimensions."""
    centre, spread = fitted.mean(0), fitted.std(0, correction=0).clamp(min=1e-9)
    rows, others = (fitted - centre) / spread, (held - centre) / spread
    gram = rows @ rows.T
    ridge = RIDGE * gram.diagonal().mean().clamp(min=1e-9)
    offset = signs.mean()
    weights = torch.linalg.solve(gram + ridge * torch.eye(len(rows), dtype=gram.dtype), signs - offset)
    answers: Tensor = others @ (rows.T @ weights) + offset
    return answers > 0
