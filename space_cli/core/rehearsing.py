"""Retained prompts that an erasure has moved, to be trained on more often than an even draw would."""

from collections.abc import Iterator, Sequence

import torch

from torch import Tensor

from space_cli.core.budget import lost_names
from space_cli.core.context import STATISTICS_BATCH, EditContext, Factors, batched
from space_cli.core.isolation import drift_terms
from space_cli.core.losses import by_prompt, token_kl
from space_cli.core.types import Prompt

LOOKED_AT = 512
"""Retained prompts among which those that drifted most are looked for each time."""
KEPT = 32
"""How many of them are rehearsed: on development concepts the worst 20 of 277 held nine tenths of all drift
(docs/benchmarks/development.md)."""


class Rehearsal:
    """The prompts that drifted most, and the neighbours that lost their names.

    Both are few among thousands, and an even draw hardly ever finds them. A neighbour that got its name back stays
    among them; what drifted most is found anew at each look.

    Args:
        context: The erasure.
    """

    def __init__(self, context: EditContext) -> None:
        self._context = context
        self._lost: dict[Prompt, None] = {}
        self._moved: list[Prompt] = []

    def look(self, factors: Factors, turn: str) -> None:
        """Find them anew; which prompts are looked at follows from the run's seed and from `turn`."""
        knowledge = self._context.knowledge
        pool = [*knowledge.retained, *dict.fromkeys(knowledge.texts)]
        self._lost |= dict.fromkeys(lost_names(self._context, factors))
        looked = self._context.drawn(pool, f"{turn} moved", LOOKED_AT)
        found = drifts(self._context, looked, factors)
        order = sorted(range(len(looked)), key=lambda row: -found[row])
        self._moved = [looked[row] for row in order[:KEPT]]

    def terms(self, factors: Factors, turn: str, size: int) -> Iterator[Tensor]:
        """Yield what sums to the divergence on some lost neighbours and on as many prompts that drifted.

        Args:
            factors: The change.
            turn: Draws them.
            size: Of each at most.
        """
        for kind, prompts in (("lost", list(self._lost)), ("moved", self._moved)):
            some = self._context.drawn(prompts, f"{turn} {kind}", size)
            yield from drift_terms(self._context, some, self._context.features, factors)


@torch.inference_mode()
def drifts(context: EditContext, prompts: Sequence[Prompt], factors: Factors) -> list[float]:
    """Return KL(before the first request || edited) on each prompt's answer, nats, all its tokens together."""
    found: dict[Prompt, float] = {}
    for some, reference in context.referred(prompts, context.features):
        for chosen in batched(some, STATISTICS_BATCH):
            batch = context.responder.batch(chosen)
            with context.edited(reference):
                before = context.responder.answer_logits(batch, context.features)
            with context.edited(factors):
                after = context.responder.answer_logits(batch, context.features)
            whole = by_prompt(token_kl(before, after), batch).sum(-1)
            found |= dict(zip(chosen, whole.tolist(), strict=True))
    return [found[prompt] for prompt in prompts]
