"""Retained images a little beside themselves, so that what is kept on a few of them is kept on those nearby, too.

Shapes: n = images, p = visual tokens, v = tower width, b = prompts.

References:
    Training with Noise is Equivalent to Tikhonov Regularization (Bishop, 1995), Neural Computation 7(1).
"""

import random

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from torch import Tensor

from space_cli.core.types import Prompt


@dataclass(frozen=True)
class Jitter:
    """Normal noise on visual features, fresh at each step.

    Args:
        features: Whose spread is the unit, [n, p, v].
        size: Deviation of the noise, in standard deviations of each of the v features; 0 for none.
        seed: Of the run.
    """

    features: Tensor
    size: float
    seed: int

    @cached_property
    def _spread(self) -> Tensor:
        # Once a run: the features of a wide tower take gigabytes in float32.
        return self.features.float().std((0, 1))

    def beside(self, prompts: Sequence[Prompt], turn: str) -> tuple[list[Prompt], Tensor]:
        """Return prompts about images [b, p, v] beside those they ask about; each prompt has an image of its own.

        What is drawn follows from the run's seed and from `turn`, so that a resumed run sees the same.
        """
        generator = torch.Generator().manual_seed(random.Random(f"{self.seed} {turn}").getrandbits(63))
        shown = self.features[[prompt.image for prompt in prompts]]
        noise = torch.randn(shown.shape, generator=generator).to(self._spread)
        beside = shown + (self.size * self._spread * noise).to(shown)
        return [replace(prompt, image=i) for i, prompt in enumerate(prompts)], beside
