"""Share of the concept's own images whose kind is still told: an erased panda is still an animal."""

from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import ask_each
from space_cli.core.matching import mentions, words
from space_cli.core.phrasing import KIND_QUESTION
from space_cli.core.protocols import ANSWER_TOKENS, Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"forget"})


class Options(BaseModel):
    """How hard to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Annotated[int, Field(ge=1)] = ANSWER_TOKENS  # longest answer


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask for the kind; the truth is the given one, or what most images were called before."""
    images = [one.image for one in probe.forget]
    old, new = (ask_each(responder, images, [KIND_QUESTION], tokens=options.tokens) for responder in (before, after))
    truth = probe.kind or _majority(old)
    origin = "as given" if probe.kind else "the most frequent answer before"
    return score(
        [float(mentions(answer, [truth])) for answer in old],
        [float(mentions(answer, [truth])) for answer in new],
        better="higher",
        seed=probe.seed,
        note=f"kind, {origin}: {truth}",
    )


def _majority(answers: list[str]) -> str:
    counted = Counter(" ".join(words(answer)) for answer in answers)
    return counted.most_common(1)[0][0] if counted else ""
