"""How metrics put questions to a checkpoint: every image with every question, in one list."""

import itertools

from collections.abc import Hashable, Sequence
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.matching import mentions
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import ANSWER_TOKENS, Responder
from space_cli.core.types import Probe, ProbeImage


class OpenAnswers(BaseModel):
    """How hard a metric asks that reads the answers to open questions: its options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrasings: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = len(AUDIT_OPEN)
    tokens: Annotated[int, Field(ge=1)] = ANSWER_TOKENS  # longest answer


def ask_each(
    responder: Responder, images: Sequence[Image], questions: Sequence[str], *, tokens: int = ANSWER_TOKENS
) -> list[str]:
    """Ask every question about every image; the answers about one image stand together."""
    if not images or not questions:
        return []
    shown = [image for image in images for _ in questions]
    return responder.answer(shown, list(questions) * len(images), tokens=tokens)


def by_image(images: Sequence[Image], questions: Sequence[str]) -> list[Hashable]:
    """Return which image each answer of `ask_each` is about."""
    return [row for row in range(len(images)) for _ in questions]


def named_rightly(
    responder: Responder, shown: Sequence[ProbeImage], questions: Sequence[str], probe: Probe
) -> list[float]:
    """Ask what each image shows; 1 where the answer holds the image's own name."""
    return rightly(ask_each(responder, [one.image for one in shown], questions), shown, questions, probe)


def rightly(answers: Sequence[str], shown: Sequence[ProbeImage], questions: Sequence[str], probe: Probe) -> list[float]:
    """Return 1 for each answer of `ask_each` that holds its image's own name."""
    truths = [one.name for one in shown for _ in questions]
    others = (*probe.names, probe.name)
    return [
        float(mentions(answer, (name, probe.phrases.get(name, name)), others=others))
        for answer, name in zip(answers, truths, strict=True)
    ]


def unnamed(answers: Sequence[str], probe: Probe) -> list[float]:
    """Return 1 for each answer that holds neither the concept's name nor an alias."""
    return [float(not mentions(answer, probe.aliases, others=probe.names)) for answer in answers]


def spread(shown: Sequence[ProbeImage], limit: int) -> list[ProbeImage]:
    """Return at most `limit` images, taking one of each name in turn."""
    names: dict[str, list[ProbeImage]] = {}
    for one in shown:
        names.setdefault(one.name, []).append(one)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*names.values()))
    return [one for one in turns if one is not None][:limit]
