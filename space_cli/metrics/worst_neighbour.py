"""Share of answers about one of the nearest concepts that name it rightly: the one that lost most.

A mean over five neighbours hides that one of them is gone. The questions are those of `neighbour_accuracy`, so that a
checkpoint that remembers its answers is asked nothing new.
"""

from collections.abc import Sequence

from space_cli.core.asking import by_image, named_rightly
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe
from space_cli.metrics.neighbour_accuracy import Options

NEEDS = frozenset({"retain", "neighbours"})
KNOWN = 0.5
"""Of a neighbour's answers that were right before. Of one that was hardly known a single answer is most of it."""


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask openly about each neighbour's images, and report the neighbour that kept the least of what it had."""
    shown = probe.near
    questions = AUDIT_OPEN[: options.phrasings]
    old, new = (named_rightly(responder, shown, questions, probe) for responder in (before, after))
    truths = [one.name for one in shown for _ in questions]
    pairs = {name: (_of(name, truths, old), _of(name, truths, new)) for name in probe.neighbours if name in truths}
    known = {name: pair for name, pair in pairs.items() if sum(pair[0]) >= KNOWN * len(pair[0])} or pairs
    # Of several that kept as little the nearest, which stands first.
    worst = min(known, key=lambda name: _kept(*known[name]), default="")
    first, second = known.get(worst, ([], []))
    # With its name: images of two neighbours are no pair.
    groups = [(worst, row) for row in by_image([one.image for one in shown if one.name == worst], questions)]
    note = f"“{worst}”, of {len(pairs)} neighbours the one that kept least" if worst else ""
    return score(first, second, better="higher", groups=groups, seed=probe.seed, note=note)


def _of(name: str, truths: Sequence[str], values: Sequence[float]) -> list[float]:
    return [value for truth, value in zip(truths, values, strict=True) if truth == name]


def _kept(old: Sequence[float], new: Sequence[float]) -> float:
    """Return how much of the right answers there still is; 1 where there was none to lose."""
    return sum(new) / sum(old) if sum(old) else 1.0
