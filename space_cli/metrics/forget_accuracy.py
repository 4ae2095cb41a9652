"""Share of answers about the concept's own images that still name it, in phrasings no erasure trained on."""

from collections.abc import Hashable

from space_cli.core.asking import OpenAnswers, ask_each, by_image
from space_cli.core.matching import mentions
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import paired_difference, score
from space_cli.core.types import Probe

NEEDS = frozenset({"forget"})
Options = OpenAnswers


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask openly and look for the name or any alias; images are the independent unit."""
    images = [one.image for one in probe.forget]
    questions = AUDIT_OPEN[: options.phrasings]
    groups = by_image(images, questions)
    old, new = (
        [
            float(mentions(answer, probe.aliases, others=probe.names))
            for answer in ask_each(responder, images, questions, tokens=options.tokens)
        ]
        for responder in (before, after)
    )
    note = f"{_change(old, new, groups, probe.seed)}; {_kept(old, new)}"
    return score(old, new, better="lower", groups=groups, seed=probe.seed, note=note)


def _change(old: list[float], new: list[float], groups: list[Hashable], seed: int) -> str:
    change = paired_difference(old, new, groups=groups, seed=seed)
    return "no images" if change is None else f"change {change.mean:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"


def _kept(old: list[float], new: list[float]) -> str:
    known = [now for was, now in zip(old, new, strict=True) if was]
    if not known:
        return "no answer named it before"
    return f"of {len(known)} answers that named it before, {sum(known) / len(known):.1%} still do"
