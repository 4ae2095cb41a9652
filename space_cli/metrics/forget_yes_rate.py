"""Share of "yes" when asked whether the concept's own images show it.

The control tells forgetting from agreeing: the same question about images of others, where "no" is right.
"""

from collections.abc import Sequence
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import ask_each, by_image, spread
from space_cli.core.matching import says_yes
from space_cli.core.phrasing import AUDIT_YES_NO
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe, ProbeImage

NEEDS = frozenset({"forget"})


class Options(BaseModel):
    """How many controls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    controls: Annotated[int, Field(ge=0)] = 60  # images of other concepts, spread over their names


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask both yes/no forms about the concept, on its own images and on others."""
    questions = [question.format(phrase=probe.phrase) for question in AUDIT_YES_NO]
    images = [one.image for one in probe.forget]
    others = spread(probe.retain, options.controls)
    old = _agreement(before, images, questions)
    answers = ask_each(after, images, questions)
    new = [float(says_yes(answer) is True) for answer in answers]
    neither = sum(says_yes(answer) is None for answer in answers)
    control = _agreement(after, [one.image for one in others], questions)
    return score(
        old,
        new,
        better="lower",
        groups=by_image(images, questions),
        seed=probe.seed,
        control=_mean(control),
        note=f"{neither} of {len(answers)} answers are neither yes nor no" + _own_names(before, after, probe, others),
    )


def _own_names(before: Responder, after: Responder, probe: Probe, others: Sequence[ProbeImage]) -> str:
    if not others:
        return ""
    rates = [
        sum(
            bool(says_yes(answer))
            for answer in responder.answer(
                [one.image for one in others],
                [AUDIT_YES_NO[0].format(phrase=probe.phrases.get(one.name, one.name)) for one in others],
            )
        )
        / len(others)
        for responder in (before, after)
    ]
    return f"; other concepts' own names are affirmed {rates[0]:.0%} before, {rates[1]:.0%} after"


def _agreement(responder: Responder, images: Sequence[Image], questions: Sequence[str]) -> list[float]:
    return [float(says_yes(answer) is True) for answer in ask_each(responder, images, questions)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
