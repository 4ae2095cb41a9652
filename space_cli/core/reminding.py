"""The names that earlier requests erased, on the anchors kept of them: kept down while another name is taken away.

What is retained is what was known before the first request, and there these names had their share of the likelihood of
whatever looks like them. Without a word against it they come back with the rest.

Shapes: b = anchors in a step.
"""

import random

from dataclasses import replace

import torch

from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.naming import Naming
from space_cli.core.relearning import likelihoods
from space_cli.core.types import Prompt


class Reminders:
    """Prompts that name what was erased, each about a kept anchor of its own request.

    Args:
        context: The erasure; without an earlier request there are no prompts.
    """

    def __init__(self, context: EditContext) -> None:
        self._context = context
        self._namings = [
            Naming(context.responder, one.concept, context.knowledge.forms, context.seed) for one in context.earlier
        ]

    def __bool__(self) -> bool:
        """Tell whether there was an earlier request."""
        return bool(self._namings)

    def named(self, step: int, size: int) -> tuple[Tensor, ...]:
        """Return log p of each token of erased names on kept anchors, b times [t], nats; differentiable.

        The requests take turns, each with an anchor and a wording that follow from seed and step alone.
        """
        rng = random.Random(f"{self._context.seed} {step} reminders")
        prompts: list[Prompt] = []
        shown: list[Tensor] = []
        for turn in range(step * size, (step + 1) * size):
            place = turn % len(self._namings)
            kept = self._context.earlier[place].features
            wording = rng.choice((*self._namings[place].names, *self._namings[place].affirmations))
            prompts.append(replace(wording, image=len(shown)))
            shown.append(kept[rng.randrange(len(kept))])
        return likelihoods(self._context.responder, prompts, torch.stack(shown))
