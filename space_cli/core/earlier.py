"""Concepts that earlier requests erased: what must stay as it is now, so that a later request brings no name back.

Plain proxies say nothing about a concept, so the anchors kept of a request are hardened ones: pushed until the
checkpoint before it named the concept in them. What the checkpoint answers about them now, name forgotten, is retained.

Shapes: n = anchors, p = visual tokens, v = tower width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from space_cli.core import phrasing
from space_cli.core.matching import mentions
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.types import Prompt

KEPT = 16
"""Anchors kept of a request: 19 MB in LLaVA-1.5, as many as one re-hardening of `dcsi` looks at."""
ROWS = 512
"""Kept anchors that a request looks at, of all earlier ones together: about half as many as its own images, so that
what was erased before does not outweigh what is to be retained."""


@dataclass(frozen=True)
class Earlier:
    """An earlier request's concept with its kept anchors."""

    concept: Concept
    features: Tensor  # [n, p, v]


def settled(responder: Responder, earlier: Sequence[Earlier], first: int) -> list[Prompt]:
    """Ask the checkpoint about the kept anchors, openly and whether they show what was erased.

    Args:
        responder: The checkpoint as it is now.
        earlier: Of each earlier request.
        first: Row of the first kept anchor among the features that the prompts will be asked about.

    Returns:
        Its answers as prompts to retain. An answer that still finds the concept is left out: it shall not be protected.
    """
    prompts: list[Prompt] = []
    for one in earlier:
        count = len(one.features)
        rows = range(first, first + count)
        opened = [phrasing.ERASE_OPEN[row % len(phrasing.ERASE_OPEN)] for row in range(count)]
        denied = [q.format(phrase=one.concept.spoken) for q in phrasing.ERASE_YES_NO]
        for questions in (opened, [denied[row % len(denied)] for row in range(count)]):
            answers = responder.answer_features(one.features, questions)
            told = [Prompt(q, a, row) for q, a, row in zip(questions, answers, rows, strict=True) if a]
            prompts += [prompt for prompt in told if not finds(one.concept, prompt)]
        first += count
    return prompts


def finds(concept: Concept, prompt: Prompt) -> bool:
    """Tell whether an answer finds the concept in an image: what is to be forgotten cannot be retained as well."""
    affirmed = phrasing.asks_about(prompt.question, concept.spoken) and prompt.answer.lower().startswith("yes")
    return affirmed or mentions(prompt.answer, concept.names)
