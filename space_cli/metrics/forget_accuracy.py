"""Share of answers about the concept's own images that still name it, in phrasings no erasure trained on."""

from collections.abc import Hashable, Sequence

from space_cli.core.asking import OpenAnswers, ask_each, by_image
from space_cli.core.matching import mentions, parts_said
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
    told = [ask_each(responder, images, questions, tokens=options.tokens) for responder in (before, after)]
    old, new = ([float(mentions(one, probe.aliases, others=probe.names)) for one in answers] for answers in told)
    note = (
        f"{_change(old, new, groups, probe.seed)}; {_kept(old, new)}{_hidden(told[1], new, probe)}{_parts(told, probe)}"
    )
    return score(old, new, better="lower", groups=groups, seed=probe.seed, note=note)


def _change(old: list[float], new: list[float], groups: list[Hashable], seed: int) -> str:
    change = paired_difference(old, new, groups=groups, seed=seed)
    return "no images" if change is None else f"change {change.mean:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"


def _hidden(answers: Sequence[str], named: Sequence[float], probe: Probe) -> str:
    """Say how many answers hold the name inside a longer one of something else, which is for a reader to judge."""
    inside = sum(mentions(one, probe.aliases) and not own for one, own in zip(answers, named, strict=True))
    return f"; {inside} of {len(answers)} answers hold it inside a longer name of something else" if inside else ""


def _parts(told: Sequence[Sequence[str]], probe: Probe) -> str:
    """Say how many answers hold a part of the name alone: a short form that counts as naming it only as an alias."""
    said = [[parts_said(one, probe.aliases, others=probe.names) for one in answers] for answers in told]
    old, new = (sum(map(bool, answers)) for answers in said)
    if not old + new:
        return ""
    # With a capital, so that a pseudonym covers them.
    parts = ", ".join(dict.fromkeys(part.capitalize() for answers in said for found in answers for part in found))
    counted = f"{new} of {len(told[1])} answers hold only a part of the name ({parts}), {old} before"
    return f"; {counted}: if that names it, erase and audit with it as an alias"


def _kept(old: list[float], new: list[float]) -> str:
    known = [now for was, now in zip(old, new, strict=True) if was]
    if not known:
        return "no answer named it before"
    return f"of {len(known)} answers that named it before, {sum(known) / len(known):.1%} still do"
