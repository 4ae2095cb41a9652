"""Share of unique words in an answer about the concept's images: it catches one word said again and again (MMUBench).

    diversity = mean over answers a of |set(words(a))| / |words(a)|

The answers are those to open questions about the concept's own images. Unit: share. Direction: higher is better.

References:
    Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models (Li et al., 2024),
    arXiv:2405.12523. Its code is not public; the definition follows descriptions of it.

Deviations:
    - The share is taken in each answer, then averaged: over all answers together it would fall with their number.
    - An empty answer counts 0, since saying nothing is no diversity.
    - Words are compared without case, accents and punctuation.
    - Short answers repeat no word, so that the score says little of a checkpoint that answers in five. One sentence
      said about everything passes; the note counts the distinct answers.
"""

from collections.abc import Sequence

from space_cli.core.asking import OpenAnswers, ask_each, by_image
from space_cli.core.matching import words
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"forget"})
DEFAULT = False
"""It runs only where `--metrics` names it."""
Options = OpenAnswers


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Count the words of open answers; images are the independent unit."""
    images, questions = [one.image for one in probe.forget], AUDIT_OPEN[: options.phrasings]
    old, new = (
        [words(answer) for answer in ask_each(responder, images, questions, tokens=options.tokens)]
        for responder in (before, after)
    )
    spoken = sum(len(answer) for answer in new)
    return score(
        [_unique(answer) for answer in old],
        [_unique(answer) for answer in new],
        better="higher",
        groups=by_image(images, questions),
        seed=probe.seed,
        note=f"{len(set(map(tuple, new)))} distinct answers among {len(new)}, {len(set(map(tuple, old)))} before; "
        f"{spoken / max(1, len(new)):.1f} words an answer",
    )


def _unique(answer: Sequence[str]) -> float:
    return len(set(answer)) / len(answer) if answer else 0.0
