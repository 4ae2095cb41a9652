"""Round the weights to 8 or 4 bits: an edit smaller than the rounding is rounded away, and the concept comes back."""

from collections.abc import Sequence
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import spread
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
from space_cli.core.matching import mentions
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.quantizing import Rounding, has_nf4, int8, nf4, quantized, rtn4
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe, ProbeImage

NEEDS: frozenset[str] = frozenset()
PARTS = ("int8", "rtn4", "nf4")
KEPT = (
    "; other concepts named {after:.3f} → {after_rounded:.3f} rounded, "
    "before erasing {before:.3f} → {before_rounded:.3f}"
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
    controls: Annotated[int, Field(ge=0)] = 48  # of others
    questions: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 3


class _Bench:
    """What is asked of a checkpoint, rounded or not; the tower is rounded too, so features are made anew."""

    def __init__(self, before: Responder, probe: Probe, options: Options) -> None:
        self.probe = probe
        self.questions = AUDIT_OPEN[: options.questions]
        self.shown = [one.image for one in probe.forget[: options.images]]
        self.others: Sequence[ProbeImage] = spread(probe.retain, options.controls)
        self.strangers: list[Image] = [one.image for one in self.others] or list(probe.general[: options.controls])
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

    def kept(self, responder: Responder) -> float:
        """Return the share of other concepts that are named rightly."""
        tries = [Try("plain", self.questions[0])]
        answers = ask(responder, responder.features([one.image for one in self.others]), tries, tokens=24)
        right = [
            mentions(told[0], (one.name, self.probe.phrases.get(one.name, one.name)))
            for one, told in zip(self.others, answers, strict=True)
        ]
        return sum(right) / len(right)


def attack(before: Responder, after: Responder, probe: Probe, options: Options) -> dict[str, ScoreRecord]:
    """Round every linear but the output head; no data is looked at in doing so."""
    if not probe.forget and not probe.holdout:
        return {part: nothing(NO_SUBJECT) for part in PARTS}
    bench = _Bench(before, probe, options)
    return {part: _tried(before, after, bench, part) for part in PARTS}


def _tried(before: Responder, after: Responder, bench: _Bench, part: str) -> ScoreRecord:
    """Measure one rounding, or say why this machine cannot do it: the other attacks go on."""
    if part == "nf4" and not has_nf4():
        return nothing(f"bitsandbytes {NOT_INSTALLED}")
    try:
        return _rounded(before, after, bench, part)
    except EnvironmentFault as fault:
        return nothing(fault.message)


def _rounded(before: Responder, after: Responder, bench: _Bench, part: str) -> ScoreRecord:
    rounding, words = ROUNDINGS[part]
    plain = mean(bench.named(after)) or 0.0
    kept = {"before": bench.kept(before), "after": bench.kept(after)} if bench.others else {}
    with quantized(before.model, rounding):
        old = bench.named(before)
        kept |= {"before_rounded": bench.kept(before)} if kept else {}
    with quantized(after.model, rounding) as layers:
        new, control = bench.named(after), bench.falsely(after)
        kept |= {"after_rounded": bench.kept(after)} if kept else {}
    record = score(
        old,
        new,
        better="lower",
        groups=[row // len(bench.questions) for row in range(len(new))],
        seed=bench.probe.seed,
        control=mean(control),
        note=f"{words}, {layers} layers; {bench.what}{KEPT.format(**kept) if kept else ''}",
    )
    parts = {f"retained_{when}": share for when, share in kept.items()}
    return with_unattacked(record, plain).model_copy(update={"parts": parts})
