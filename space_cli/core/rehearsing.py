"""Retained prompts that an erasure has moved, to be trained on more often than an even draw would."""

from collections.abc import Iterator

from torch import Tensor

from space_cli.core.budget import lost_names
from space_cli.core.context import EditContext, Factors
from space_cli.core.drifting import drifts
from space_cli.core.isolation import drift_terms
from space_cli.core.types import Prompt

LOOKED_AT = 512
"""Retained prompts among which those that drifted most are looked for each time."""
KEPT = 32
"""How many of them are rehearsed: on development concepts the worst 20 of 277 held nine tenths of all drift
(docs/benchmarks/development.md)."""


class Rehearsal:
    """The prompts that drifted most, and the neighbours that lost their names.

    Both are few among thousands, and an even draw hardly ever finds them. A neighbour that got its name back stays
    among them; what drifted most is found anew at each look. Prompts that are held out are neither.

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
        # What is held out measures the drift, and would no longer once it is trained on.
        held_out = set(knowledge.held_out)
        self._lost |= dict.fromkeys(one for one in lost_names(self._context, factors) if one not in held_out)
        looked = self._context.drawn(pool, f"{turn} moved", LOOKED_AT)
        found = zip(drifts(self._context, looked, factors, keep=True), looked, strict=True)
        self._moved = [prompt for _, prompt in sorted(found, key=lambda pair: -pair[0].nats)[:KEPT]]

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
