"""The hardened anchors of one erasure, pushed again whenever the checkpoint has learnt to resist them.

Shapes: n = anchors, p = visual tokens, v = tower width.
"""

from dataclasses import replace

import torch

from torch import Tensor

from space_cli.core import phrasing
from space_cli.core.context import EditContext, Factors
from space_cli.core.hardening import Hardening, harden
from space_cli.core.naming import Naming
from space_cli.core.types import Prompt

HARDEN_BATCH = 64
SEED_STRIDE = 1_000_003
"""A prime beyond any step count, so that two seeds never share a step's draws."""


class AnchorBank:
    """Hardened features of the forget anchors: one set against the base, one against the model as it is now.

    Args:
        context: Features and the responder.
        naming: The objective.
        options: Budget of the first hardening; a refresh takes half its steps.
        generator: Noise, dropout and draws.
    """

    def __init__(self, context: EditContext, naming: Naming, options: Hardening, generator: torch.Generator) -> None:
        self._context = context
        self._naming = naming
        self._options = options
        self._generator = generator
        self.proxies = context.of_role("forget")
        self.base = self.proxies
        self.current = self.proxies
        self._oracle = False

    def take(self, images: Tensor) -> None:
        """Use images of the concept itself, [n, p, v], in place of hardened proxies: no anchor is pushed any more."""
        self.proxies = self.base = self.current = images
        self._oracle = True

    def harden_base(self) -> None:
        """Harden every anchor against the unedited checkpoint."""
        self.base = self.pushed(self.proxies, self._options)
        self.current = self.base.clone()

    def refresh(self, factors: Factors, count: int) -> float:
        """Harden some anchors again, against the edited checkpoint; half of them from their own proxies.

        Returns:
            Log p(name) that the push reached, nats per token: high while some way to the name is still open.
        """
        if self._oracle:
            with self._context.edited(factors):
                return float(self._naming.activation(self.base).mean())
        rows = torch.randperm(len(self.proxies), generator=self._generator)[:count]
        proxies = self.proxies[rows]
        fresh = torch.rand(len(rows), generator=self._generator) < 0.5
        start = torch.where(fresh[:, None, None].to(proxies.device), proxies, self.base[rows])
        budget = replace(self._options, steps=self._options.steps // 2)
        with self._context.edited(factors):
            pushed = harden(self._naming.objective, proxies, budget, self._generator, start=start)
            reached = float(self._naming.activation(pushed).mean())
        self.current[rows] = pushed
        return reached

    def reseed(self, step: int) -> None:
        """Make the draws of one step follow from seed and step alone, so that a resumed run makes the same."""
        seed = self._context.seed * SEED_STRIDE + step
        self._generator.manual_seed(seed)
        self._naming.reseed(seed)

    def draw(self, size: int) -> tuple[Tensor, list[int]]:
        """Return hardened features of some anchors, half from each set, with their rows."""
        rows = torch.randperm(len(self.proxies), generator=self._generator)[:size]
        older = torch.arange(len(rows)) % 2 == 0
        mixed = torch.where(older[:, None, None].to(self.base.device), self.base[rows], self.current[rows])
        return mixed, rows.tolist()

    def pushed(self, features: Tensor, options: Hardening) -> Tensor:
        """Harden features against the model as it is, in blocks."""
        blocks = features.split(HARDEN_BATCH)
        with self._context.progress.task("harden anchors", len(blocks)) as advance:
            done = []
            for block in blocks:
                done.append(harden(self._naming.objective, block, options, self._generator))
                advance()
        return torch.cat(done)


def anchor_prompts(naming: Naming, count: int) -> list[Prompt]:
    """Return every naming and yes/no prompt for each of `count` anchors."""
    every = (*naming.names, *naming.affirmations)
    return [Prompt(p.question, p.answer, i, p.lead, p.ends) for i in range(count) for p in every]


def identity_free_prompts(count: int) -> list[Prompt]:
    """Return the questions about an image that do not ask what it is, without answers."""
    return [Prompt(q, "", i) for i in range(count) for q in phrasing.IDENTITY_FREE]
