"""Run metrics and attacks on the checkpoint before and after erasing, one by one, and note what could not be run."""

import itertools
import time

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType

from space_cli.core import registry
from space_cli.core.attacking import PREFIX, score_names, scores_of
from space_cli.core.budgets import Budgets, budget
from space_cli.core.protocols import Progress, Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.types import Probe

UNORDERED = "names in no order of nearness, so that these are any"
"""Added to the note of what goes by nearness (`BY_NEARNESS`) where the pool's encoder is not at hand."""
EVERY = "all"
"""In place of names: every metric, those too that run only when asked for, or every attack."""


def metric_names() -> list[str]:
    """Return the name of every metric, as its score has it."""
    return [name.replace("-", "_") for name in registry.names("metrics")]


def usual_metrics(*, continued: bool = False) -> list[str]:
    """Return the metrics of an audit that names none.

    Args:
        continued: Whether earlier requests erased from the checkpoint, which some metrics are about.
    """
    also = continued_metrics() if continued else []
    return [n for n in metric_names() if n in also or getattr(registry.load("metrics", n), "DEFAULT", True)]


def continued_metrics() -> list[str]:
    """Return the metrics that are about earlier requests."""
    return [name for name in metric_names() if getattr(registry.load("metrics", name), "CONTINUED", False)]


def metrics_of(named: Sequence[str], *, continued: bool = False) -> list[str]:
    """Return the metrics that an audit asks: those named, all of them, or the usual ones where none is named.

    Raises:
        UsageFault: One is unknown.
    """
    for name in named:
        if name != EVERY:
            registry.load("metrics", name)
    if EVERY in named:
        return metric_names()
    return list(dict.fromkeys(name.replace("-", "_") for name in named)) or usual_metrics(continued=continued)


def attacks_of(named: Sequence[str]) -> list[str]:
    """Return the attacks that an audit tries: those named, or all of them.

    Raises:
        UsageFault: One is unknown.
    """
    single = [name.replace("_", "-") for name in named if name != EVERY]
    for name in single:
        registry.load("attacks", name)
    return registry.names("attacks") if EVERY in named else list(dict.fromkeys(single))


def every_score() -> list[str]:
    """Return the name of every score that a policy may have a rule about."""
    attacks = (score_names(name, registry.load("attacks", name)) for name in registry.names("attacks"))
    return [*metric_names(), *itertools.chain.from_iterable(attacks)]


@dataclass
class Found:
    """What asking the checkpoints brought, by the name of the score."""

    scores: dict[str, ScoreRecord] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # why
    seconds: dict[str, float] = field(default_factory=dict)  # by metric or attack

    def run(self, key: str, lack: str, ask: Callable[[], Mapping[str, ScoreRecord]]) -> bool:
        """Ask, unless something lacks for it, and tell whether it was asked."""
        if lack:
            self.skipped[key] = lack
            return False
        started = time.monotonic()
        self.add(ask())
        self.seconds[key] = round(time.monotonic() - started, 3)
        return True

    def add(self, scores: Mapping[str, ScoreRecord]) -> None:
        """Take in records; one without evidence is skipped, with its note as the reason."""
        for name, score in scores.items():
            if score.n:
                self.scores[name] = score
            else:
                self.skipped[name] = score.note or "nothing to ask"

    def join(self, other: "Found") -> None:
        """Take in all that another run brought."""
        self.scores |= other.scores
        self.skipped |= other.skipped
        self.seconds |= other.seconds


def measure(
    metrics: Sequence[str],
    responders: tuple[Responder, Responder],
    probe: Probe,
    missing: Mapping[str, str],
    progress: Progress,
    *,
    budgets: Budgets | None = None,
) -> Found:
    """Run metrics.

    Args:
        metrics: Their names.
        responders: The checkpoint before and after erasing.
        probe: What they may look at.
        missing: Why each empty field of the probe is empty.
        progress: Told about each.
        budgets: Options in place of their own, which `check_budgets` has found to fit.
    """
    found = Found()
    with progress.task("audit", total=len(metrics)) as step:
        for name in metrics:
            metric = registry.load("metrics", name)
            found.run(name, _lack(metric.NEEDS, probe, missing), partial(_measured, name, responders, probe, budgets))
            step(1, metric=name)
    return found


def assault(
    attacks: Sequence[str],
    responders: tuple[Responder, Responder],
    probe: Probe,
    missing: Mapping[str, str],
    progress: Progress,
    *,
    budgets: Budgets | None = None,
) -> Found:
    """Run attacks, saying which one is under way and about how long the rest will take; as `measure` otherwise."""
    found = Found()
    started, paid = time.monotonic(), 0.0
    loaded = {name: registry.load("attacks", name) for name in attacks}
    costs = [float(getattr(attack, "COST", 1.0)) for attack in loaded.values()]
    with progress.task("attack", total=len(attacks)) as step:
        for place, (name, attack) in enumerate(loaded.items()):
            left = _left(time.monotonic() - started, paid, sum(costs[place:]))
            progress.note(f"attack {place + 1} of {len(attacks)}: {name}, time left: {left}")
            step(0, attack=name)
            lack = _lack(attack.NEEDS, probe, missing)
            if found.run(PREFIX + name.replace("-", "_"), lack, partial(_attacked, name, responders, probe, budgets)):
                paid += costs[place]
            step(1)
    return found


def _measured(
    name: str, responders: tuple[Responder, Responder], probe: Probe, budgets: Budgets | None
) -> dict[str, ScoreRecord]:
    metric = registry.load("metrics", name)
    return _noted(metric, {name: metric.measure(*responders, probe, budget("metrics", name, budgets or {}))}, probe)


def _attacked(
    name: str, responders: tuple[Responder, Responder], probe: Probe, budgets: Budgets | None
) -> dict[str, ScoreRecord]:
    attack = registry.load("attacks", name)
    found = scores_of(name, attack.attack(*responders, probe, budget("attacks", name, budgets or {})))
    return _noted(attack, found, probe)


def _noted(plugin: ModuleType, scores: Mapping[str, ScoreRecord], probe: Probe) -> dict[str, ScoreRecord]:
    """Return scores that say so where they go by the nearness of names and that is not known."""
    if probe.ordered or not getattr(plugin, "BY_NEARNESS", False):
        return dict(scores)
    return {
        name: score.model_copy(update={"note": f"{score.note}; {UNORDERED}" if score.note else UNORDERED})
        for name, score in scores.items()
    }


def _lack(needs: frozenset[str], probe: Probe, missing: Mapping[str, str]) -> str:
    lacking = [need for need in sorted(needs) if not getattr(probe, need)]
    return f"needs `{lacking[0]}`: {missing[lacking[0]]}" if lacking else ""


def _left(seconds: float, paid: float, owed: float) -> str:
    """Return the time left in words, from what the attacks so far took for their share of the cost.

    Example:
        >>> _left(30.0, 1.0, 4.0), _left(5.0, 1.0, 4.0), _left(0.0, 0.0, 4.0)
        ('about 2 min', 'about 20 s', 'unknown')
    """
    if not paid:
        return "unknown"
    left = seconds / paid * owed
    return f"about {left / 60:.0f} min" if left >= 90 else f"about {left:.0f} s"
