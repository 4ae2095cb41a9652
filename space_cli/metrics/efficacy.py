"""Share of answers about the images an erasure used, to the questions it used, that do not name the concept (MMUBench).

    efficacy = mean over x in X, q in Q of 1[answer(x, q) holds neither the name nor an alias]

X: the images erasing trained on. Q: the open questions erasing may ask. Unit: share. Direction: higher is better.

References:
    Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models (Li et al., 2024),
    arXiv:2405.12523. Its code is not public; the definition follows descriptions of it.

Deviations:
    - A source-free erasure has no image of the concept. X are then its forget anchors, which show something else, so
      that the score is near 1 before erasing, too; `elicitation` asks the same of attacked anchors.
    - Success is that the name is absent, as in `generality`, not that the trained answer comes back word for word.
    - A name counts as whole words, and not inside a longer name of something else.
"""

from typing import Annotated

from pydantic import Field

from space_cli.core.asking import OpenAnswers, ask_each, by_image, unnamed
from space_cli.core.phrasing import ERASE_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"used"})
DEFAULT = False
"""It runs only where `--metrics` names it."""


class Options(OpenAnswers):
    """How hard to ask, with the questions that erasing may use."""

    phrasings: Annotated[int, Field(ge=1, le=len(ERASE_OPEN))] = len(ERASE_OPEN)


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask openly about what was trained on; images are the independent unit."""
    images, questions = probe.used, ERASE_OPEN[: options.phrasings]
    told = [ask_each(responder, images, questions, tokens=options.tokens) for responder in (before, after)]
    old, new = (unnamed(answers, probe) for answers in told)
    named, empty = old.count(0.0), sum(not answer.strip() for answer in told[1])
    return score(
        old,
        new,
        better="higher",
        groups=by_image(images, questions),
        seed=probe.seed,
        note=f"{named} of {len(old)} answers named it before: the rest could not fail; {empty} are empty after",
    )
