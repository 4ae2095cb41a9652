"""The source-free signals that tell an erasure when to stop: no image of the concept is looked at."""

from torch import Tensor

from space_cli.core.context import EditContext, Factors
from space_cli.core.drifting import drifts
from space_cli.core.hooks import fixed
from space_cli.core.naming import Naming

FORGOTTEN = -8.0
"""Nats of the name on held-out hardened anchors: on development concepts it then came up in at most one answer in
twenty about real pictures; at -4.6 it still came up in one of four (docs/benchmarks/development.md). All its tokens
count together, and the first one alone: of "beef tomato" the second token follows from the first, so that a mean over
both stays high however unlikely the name is."""
RESISTED = -2.0
"""Nats per token that anchors reach when pushed anew against the edited checkpoint: below it the audit's own, longer
attack on held-out anchors found the name in about one of three (docs/benchmarks/development.md)."""
RISE = 1.0
"""Nats that two looks must add to that while it lasts, or the subspace is too narrow for the concept."""
AFFIRMED = 0.3
"""Probability of "Yes" to the concept's questions about held-out anchors that counts as denied."""
HELD_PROMPTS = 256
"""Held-out prompts of the final measurement at most; a look on the way, which decides nothing by them, takes few."""


class Watch:
    """Held-out hardened anchors and held-out retained prompts, seen through the current edits.

    Args:
        context: The erasure.
        naming: The concept's prompts.
        hardened: Held-out anchors hardened against the unedited checkpoint, [n, p, v].
        pushed: Whether anchors are pushed against the edited checkpoint, too; if none is, nothing waits for it.
    """

    def __init__(self, context: EditContext, naming: Naming, hardened: Tensor, *, pushed: bool = True) -> None:
        self._context = context
        self._naming = naming
        self._hardened = hardened
        self.calm = 0
        self.trail: list[float] = []  # the name's NLL, nats, on held-out anchors at each look since the last widening
        # log p(name) of anchors as last pushed against the edited checkpoint; None where none is pushed
        self.reached: float | None = 0.0 if pushed else None
        self.latest: dict[str, float] = {}

    def look(self, factors: Factors) -> dict[str, float]:
        """Measure the signals, and count the looks in a row that find nothing left to do."""
        with self._context.edited(fixed(factors)):
            ways = (self._naming.whole(self._hardened), self._naming.begun(self._hardened))
            named = max(float(way.mean()) for way in ways)
            affirmed = float(self._naming.affirmation(self._hardened).mean())
        signals = {
            # Not -named and -reached: what is as likely as can be would be told as -0.
            "holdout_nll": 0.0 - named,
            **({} if self.reached is None else {"pushed_nll": 0.0 - self.reached}),
            "holdout_yes": affirmed,
            "retain_kl": self.retain_kl(factors, HELD_PROMPTS // 16),
        }
        resisted = self.reached is None or self.reached <= RESISTED
        calm = named <= FORGOTTEN and resisted and affirmed <= AFFIRMED
        self.calm = self.calm + 1 if calm else 0
        self.trail.append(-named)
        self.latest = signals
        return signals

    @property
    def done(self) -> bool:
        """Whether two looks in a row, before a kill or after it, found the name gone, denied and not within a push."""
        return self.calm >= 2

    @property
    def named(self) -> bool:
        """Whether the last look found the name still there, or there again."""
        return bool(self.trail) and self.trail[-1] < -FORGOTTEN

    @property
    def stalled(self) -> bool:
        """Whether the name is still there and two looks have hardly added to what keeps it down."""
        return self.named and len(self.trail) > 2 and self.trail[-1] - self.trail[-3] < RISE

    def retain_kl(self, factors: Factors, count: int = HELD_PROMPTS) -> float:
        """Return KL(before the first request || edited) on held-out retained prompts, nats per token."""
        knowledge = self._context.knowledge
        prompts = [*knowledge.held_out[:count], *knowledge.held_out_texts[: count // 4]]
        found = drifts(self._context, prompts, factors, keep=True)
        return sum(one.nats for one in found) / max(sum(one.tokens for one in found), 1)
