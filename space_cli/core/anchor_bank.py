"""The hardened anchors of one erasure, pushed again whenever the checkpoint has learnt to resist them.

Each anchor is pushed in its features and, apart from that, in the decoder's hidden states at some depths: a push of
features finds some ways to the name, and further on other ones meet that photographs take as well. Of those that are
pushed again, half go on from where they were pushed first and half begin at their own proxies and are pushed as an
attacker would push them, longer, further and each token its own way.

Shapes: n = anchors, p = visual tokens, v = tower width, h = decoder width, k = depths.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

from torch import Tensor

from space_cli.core import latent, phrasing
from space_cli.core.context import EditContext, Factors
from space_cli.core.hardening import Hardening, harden
from space_cli.core.hooks import fixed
from space_cli.core.naming import Naming
from space_cli.core.types import Prompt

HARDEN_BATCH = 64
SEED_STRIDE = 1_000_003
"""A prime beyond any step count, so that two seeds never share a step's draws."""


class AnchorBank:
    """Hardened forget anchors: one set against the base, one against the model as it is now.

    Args:
        context: Features and the responder.
        naming: The objective.
        options: Budget of the first hardening; to go on from there, a refresh takes half its steps.
        generator: Noise, dropout and draws.
        fresh: Budget of a refresh that begins at the proxies; that of the first hardening where none is given.
        depths: At how many depths hidden states are pushed, too.
    """

    def __init__(
        self,
        context: EditContext,
        naming: Naming,
        options: Hardening,
        generator: torch.Generator,
        *,
        fresh: Hardening | None = None,
        depths: int = 0,
    ) -> None:
        self._context = context
        self._naming = naming
        self._options = options
        self._fresh = fresh or options
        self._generator = generator
        self._depths = depths
        self.proxies = context.of_role("forget")
        self.base = self.proxies
        self._current = self.proxies
        self._shifts = self._shifts_now = self.proxies.new_zeros(0)  # [k, n, p, h]
        self._oracle = False

    def take(self, images: Tensor) -> None:
        """Use images of the concept itself, [n, p, v], in place of hardened proxies: no anchor is pushed any more."""
        self.proxies = self.base = self._current = images
        self._oracle, self._depths = True, 0

    def harden_base(self) -> None:
        """Harden every anchor against the unedited checkpoint."""
        self.base = self.pushed(self.proxies, self._options)
        self._current = self.base.clone()
        if self._depths:
            with self._context.progress.task("harden hidden states", self._depths) as advance:
                shifts = []
                for turn in range(self._depths):
                    blocks = self.proxies.split(HARDEN_BATCH)
                    shifts.append(torch.cat([self._shifted(some, turn, self._options) for some in blocks]))
                    advance()
            self._shifts = torch.stack(shifts)
            self._shifts_now = self._shifts.clone()

    def refresh(self, factors: Factors, count: int, turn: int) -> float:
        """Harden some anchors again, against the edited checkpoint; half of them anew, from their own proxies.

        Args:
            factors: The edits.
            count: Anchors pushed in their features, and as many in their hidden states.
            turn: How many refreshes there were: the depths take turns.

        Returns:
            Log p(name) that the push of features reached, nats per token: high while some way to the name is open.
        """
        now = fixed(factors)
        if self._oracle:
            with self._context.edited(now):
                return float(self._naming.activation(self.base).mean())
        rows = torch.randperm(len(self.proxies), generator=self._generator)[:count]
        fresh, older = rows.tensor_split(2)
        budget = replace(self._options, steps=self._options.steps // 2)
        with self._context.edited(now):
            for some, push, start in ((fresh, self._fresh, None), (older, budget, self.base[older])):
                if len(some):
                    self._current[some] = self._harden(self.proxies[some], push, start=start)
            reached = float(self._naming.activation(self._current[rows]).mean())
        if self._depths:
            rows = torch.randperm(len(self.proxies), generator=self._generator)[:count]
            depth = turn % self._depths
            with self._context.edited(now):
                self._shifts_now[depth, rows] = self._shifted(self.proxies[rows], depth, budget)
        return reached

    def reseed(self, step: int) -> None:
        """Make the draws of one step follow from seed and step alone, so that a resumed run makes the same."""
        seed = self._context.seed * SEED_STRIDE + step
        self._generator.manual_seed(seed)
        self._naming.reseed(seed)

    def draw(self, size: int) -> tuple[Tensor, list[int]]:
        """Return some anchors as they were pushed, half from each set, with their rows.

        Returns:
            Features, [size, p, v]; where hidden states are pushed, too, with shifts of these beside them
            (`core/latent.py`), each anchor pushed in one of the ways.
        """
        rows = torch.randperm(len(self.proxies), generator=self._generator)[:size]
        place = self.base.device
        older = (torch.arange(len(rows)) % 2 == 0)[:, None, None].to(place)
        mixed = torch.where(older, self.base[rows], self._current[rows])
        if not self._depths:
            return mixed, rows.tolist()
        way = torch.randint(self._depths + 1, (len(rows),), generator=self._generator).to(place)[:, None, None]
        mixed = torch.where(way == 0, mixed, self.proxies[rows])
        shifts = torch.where(older, self._shifts[:, rows], self._shifts_now[:, rows])
        taken = torch.stack([way == depth for depth in range(1, self._depths + 1)])
        return latent.joined(mixed, shifts * taken), rows.tolist()

    def state(self) -> dict[str, Tensor]:
        """Return what later pushes made of the anchors."""
        return {"current": self._current} | ({"shifts": self._shifts_now} if self._depths else {})

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        self._current = tensors["current"].to(self.base.device)
        if self._depths:
            self._shifts_now = tensors["shifts"].to(self.base.device)

    def pushed(self, features: Tensor, options: Hardening) -> Tensor:
        """Harden features against the model as it is, in blocks."""
        blocks = features.split(HARDEN_BATCH)
        with self._context.progress.task("harden anchors", len(blocks)) as advance:
            done = []
            for block in blocks:
                done.append(self._harden(block, options))
                advance()
        return torch.cat(done)

    def _harden(self, features: Tensor, options: Hardening, *, start: Tensor | None = None) -> Tensor:
        return harden(self._naming.objective, features, options, self._generator, start=start)

    def _shifted(self, proxies: Tensor, turn: int, options: Hardening) -> Tensor:
        """Return shifts of hidden states at one depth, [n, p, h], with which the proxies are named as the concept."""
        states = latent.states(self._context.responder, proxies, turn, self._depths)

        def objective(moved: Tensor) -> Tensor:
            return self._naming.objective(latent.joined(proxies, latent.alone(moved - states, turn, self._depths)))

        return harden(objective, states, options, self._generator) - states


def anchor_prompts(naming: Naming, count: int) -> list[Prompt]:
    """Return every naming and yes/no prompt for each of `count` anchors."""
    every = (*naming.names, *naming.affirmations)
    return [Prompt(p.question, p.answer, i, p.lead, p.ends) for i in range(count) for p in every]


def identity_free_prompts(count: int) -> list[Prompt]:
    """Return the questions about an image that do not ask what it is, without answers."""
    return [Prompt(q, "", i) for i in range(count) for q in phrasing.IDENTITY_FREE]
