"""An adversary that relearns the name while an erasure trains, so that the erasure learns to withstand it.

What an edit only holds down is back after a few steps of training on look-alikes, sooner than another name is learnt.
So between two steps the adversary trains adapters on every linear below the tower until the edited checkpoint calls the
plain proxies by the name, and the name is pressed down on hardened anchors with these adapters in place. One step of it
changes nothing; some thirty do (docs/benchmarks/development.md).

Shapes: n = proxies, b = anchors of a step, p = visual tokens, v = tower width.

References:
    Tamper-Resistant Safeguards for Open-Weight LLMs (Tamirisa et al., 2024), arXiv:2408.00761, from which it takes the
    loss under a simulated attack. Unlike there, the attack goes on beside the training instead of anew in each step,
    and what is trained stays inside the safe subspace.
"""

import random

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from torch import Tensor

from space_cli.core.context import EditContext, Factors
from space_cli.core.hooks import editing, fixed
from space_cli.core.isolation import name_loss
from space_cli.core.naming import Naming
from space_cli.core.relearning import Adapters, Course, adapters, likelihoods, linears, optimiser_of, split_rows, teach
from space_cli.core.scaling import Optimiser

BUDGET = Course(stops=())
"""Rank and batch are those of the audit's attack."""


@dataclass(frozen=True)
class Effort:
    """How hard the adversary tries."""

    steps: int  # of its own, between two steps of training
    lr: float


class Adversary:
    """Adapters that live for some steps of training, and then begin anew.

    Args:
        context: The erasure.
        naming: The concept's prompts.
        proxies: What it trains on, [n, p, v]: plain, as whoever attacks has them.
        effort: How hard it tries.
    """

    def __init__(self, context: EditContext, naming: Naming, proxies: Tensor, effort: Effort) -> None:
        self._context = context
        self._naming = naming
        self._proxies = proxies
        self._effort = effort
        self._parts = linears(context.responder, replace(naming.names[0], image=0), proxies)
        self._adapters: Adapters = {}
        self._optimiser: Optimiser | None = None

    @property
    def begun(self) -> bool:
        """Tell whether it lives: there is nothing to relearn before something is forgotten."""
        return self._optimiser is not None

    def begin(self, turn: int) -> None:
        """Begin a new life; its adapters follow from the run's seed and from `turn`: a resumed run has the same."""
        drawn = random.Random(f"{self._context.seed} {turn} adversary").randrange(2**31)
        self._adapters = adapters(self._parts, BUDGET.rank, torch.Generator().manual_seed(drawn))
        self._optimiser = optimiser_of(self._adapters, self._effort.lr)

    def attack(self, factors: Factors, step: int) -> None:
        """Relearn the name on some proxies, against the edits as they are."""
        if self._optimiser is None:
            raise RuntimeError("the adversary has not begun")
        rng = random.Random(f"{self._context.seed} {step} relearnt")
        with self._context.edited(fixed(factors)), editing(self._context.responder.model, self._adapters):
            for _ in range(self._effort.steps):
                rows = rng.sample(range(len(self._proxies)), min(BUDGET.batch, len(self._proxies)))
                prompts = [replace(rng.choice(self._naming.names), image=row) for row in rows]
                teach(self._context.responder, prompts, self._proxies, self._optimiser)

    def terms(self, features: Tensor, factors: Factors, step: int, beta: float) -> Iterator[Tensor]:
        """Yield what sums to the cost of the name under the adapters, as many anchors a pass as fit.

        Args:
            features: Of the step's anchors, [b, p, v].
            factors: The change.
            step: Its turn decides which question each is asked.
            beta: Sharpness of the preference, per nat.
        """
        usual = self._naming.usual
        prompts = [replace(usual[(step + row) % len(usual)], image=row) for row in range(len(features))]
        still = fixed(self._adapters)
        for some in split_rows(self._context.responder, prompts, features):
            with self._context.edited(factors), editing(self._context.responder.model, still):
                told = likelihoods(self._context.responder, some, features)
            yield name_loss(told, beta) * (len(some) / len(prompts))
