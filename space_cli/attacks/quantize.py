"""Round the weights to 8 or 4 bits: an edit smaller than the rounding is rounded away, and the concept comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import rightly, spread
from space_cli.core.attacking import (
    NO_SUBJECT,
    NOT_INSTALLED,
    Try,
    ask,
    mean,
    named,
    nothing,
    surrogates,
    with_unattacked,
)
from space_cli.core.errors import EnvironmentFault
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import ANSWER_TOKENS, Responder
from space_cli.core.quantizing import Rounding, has_nf4, int8, nf4, quantized, rtn4
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import paired_difference, score
from space_cli.core.types import Probe, ProbeImage

NEEDS: frozenset[str] = frozenset()
PARTS = ("int8", "rtn4", "nf4")
RETAINED = "retained_"
"""Before the name of each part that is about other concepts."""
KEPT = (
    "; other concepts ({count} images) named {after:.3f} → {after_rounded:.3f} rounded, before erasing {before:.3f} → "
    "{before_rounded:.3f}: rounding costs {beyond:+.3f} ({low:+.3f} to {high:+.3f}) more than before"
)
ROUNDINGS: dict[str, tuple[Rounding, str]] = {
    "int8": (int8, "8 bits, one scale an output"),
    "rtn4": (rtn4, "4 bits, groups of 128, to nearest"),
    "nf4": (nf4, "4 bits, NF4 of bitsandbytes"),
}


class Options(BaseModel):
    """What is measured on the rounded checkpoints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=1)] = 24  # of the concept
    controls: Annotated[int, Field(ge=0)] = 48  # of others, for the control
    # Of others, to be named rightly: rounding changes a hundredth of them, which 48 could not tell from none.
    kept: Annotated[int, Field(ge=0)] = 480
    questions: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 3


class _Bench:
    """What is asked of a checkpoint, rounded or not; the tower is rounded too, so features are made anew."""

    def __init__(self, before: Responder, probe: Probe, options: Options) -> None:
        self.probe = probe
        self.questions = AUDIT_OPEN[: options.questions]
        self.shown = [one.image for one in probe.forget[: options.images]]
        self.others: Sequence[ProbeImage] = spread(probe.retain, options.kept)
        strangers = [one.image for one in spread(probe.retain, options.controls)]
        self.strangers: list[Image] = strangers or list(probe.general[: options.controls])
        self.pushed = None if self.shown else surrogates(before, probe, options.images)
        self.what = (
            f"{len(self.shown)} images of the concept"
            if self.pushed is None
            else f"{len(self.pushed)} hardened held-out anchors (no image)"
        )

    def named(self, responder: Responder) -> list[float]:
        """Return 1 for each answer about the concept that names it."""
        features = responder.features(self.shown) if self.pushed is None else self.pushed
        return named(responder, features, self.probe, self.questions)

    def falsely(self, responder: Responder) -> list[float]:
        """Return 1 for each answer about something else that names the concept."""
        if not self.strangers:
            return []
        return named(responder, responder.features(self.strangers), self.probe, self.questions)

    def kept(self, responder: Responder) -> list[float]:
        """Return 1 for each image of something else that is named rightly."""
        if not self.others:
            return []
        tries = [Try("plain", self.questions[0])]
        answers = ask(responder, responder.features([one.image for one in self.others]), tries, tokens=ANSWER_TOKENS)
        return rightly([told[0] for told in answers], self.others, self.questions[:1], self.probe)


@dataclass(frozen=True)
class _Unrounded:
    """What the checkpoints say before their weights are rounded."""

    named: float  # share of answers about the concept that name it after erasing
    before: Sequence[float]  # images of something else that are named rightly
    after: Sequence[float]


def attack(before: Responder, after: Responder, probe: Probe, options: Options) -> dict[str, ScoreRecord]:
    """Round every linear but the output head; no data is looked at in doing so."""
    if not probe.forget and not probe.holdout:
        return {part: nothing(NO_SUBJECT) for part in PARTS}
    bench = _Bench(before, probe, options)
    plain = _Unrounded(mean(bench.named(after)) or 0.0, bench.kept(before), bench.kept(after))
    return {part: _tried(before, after, bench, plain, part) for part in PARTS}


def _tried(before: Responder, after: Responder, bench: _Bench, plain: _Unrounded, part: str) -> ScoreRecord:
    """Measure one rounding, or say why this machine cannot do it: the other attacks go on."""
    if part == "nf4" and not has_nf4():
        return nothing(f"bitsandbytes {NOT_INSTALLED}")
    try:
        return _rounded(before, after, bench, plain, part)
    except EnvironmentFault as fault:
        return nothing(fault.message)


def _rounded(before: Responder, after: Responder, bench: _Bench, plain: _Unrounded, part: str) -> ScoreRecord:
    rounding, words = ROUNDINGS[part]
    with quantized(before.model, rounding):
        old, old_kept = bench.named(before), bench.kept(before)
    with quantized(after.model, rounding) as layers:
        new, control, new_kept = bench.named(after), bench.falsely(after), bench.kept(after)
    parts = _kept(plain, old_kept, new_kept, seed=bench.probe.seed)
    told = {name.removeprefix(RETAINED): value for name, value in parts.items()}
    kept = KEPT.format(count=len(bench.others), **told) if parts else ""
    record = score(
        old,
        new,
        better="lower",
        groups=[row // len(bench.questions) for row in range(len(new))],
        seed=bench.probe.seed,
        control=mean(control),
        note=f"{words}, {layers} layers; {bench.what}{kept}",
    )
    return with_unattacked(record, plain.named).model_copy(update={"parts": parts})


def _kept(plain: _Unrounded, old: Sequence[float], new: Sequence[float], *, seed: int) -> dict[str, float]:
    """Return how well others are named, and what rounding costs them beyond what it costs before erasing."""
    lost = [whole - rounded for whole, rounded in zip(plain.before, old, strict=True)]
    lost_since = [whole - rounded for whole, rounded in zip(plain.after, new, strict=True)]
    beyond = paired_difference(lost, lost_since, seed=seed)
    if beyond is None:
        return {}
    shares = {"before": plain.before, "after": plain.after, "before_rounded": old, "after_rounded": new}
    found = {name: sum(values) / len(values) for name, values in shares.items()}
    found |= {"beyond": beyond.mean, "low": beyond.low, "high": beyond.high}
    return {f"{RETAINED}{name}": value for name, value in found.items()}
