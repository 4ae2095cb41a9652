"""Share of text-only questions about the concept answered as they should be: words about it are kept."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.matching import mentions
from space_cli.core.protocols import ANSWER_TOKENS, Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"facts"})


class Options(BaseModel):
    """How hard to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Annotated[int, Field(ge=1)] = ANSWER_TOKENS  # longest answer


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask each fact without an image; where no answer is expected, the answer before erasing is."""
    questions = [question for question, _ in probe.facts]
    old, new = (responder.answer(None, questions, tokens=options.tokens) for responder in (before, after))
    truths = [expected or answer for (_, expected), answer in zip(probe.facts, old, strict=True)]
    guessed = sum(not expected for _, expected in probe.facts)
    return score(
        [float(mentions(answer, [truth])) for answer, truth in zip(old, truths, strict=True)],
        [float(mentions(answer, [truth])) for answer, truth in zip(new, truths, strict=True)],
        better="higher",
        seed=probe.seed,
        note=f"{len(questions)} questions, {guessed} of them against the answer before",
    )
