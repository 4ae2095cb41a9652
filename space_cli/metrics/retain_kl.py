"""How far next-token distributions moved on everything else, in nats per token.

KL(before || after), teacher forced on the answers the checkpoint gave before erasing; each prompt is one
independent value of the interval.
"""

import itertools

from collections.abc import Sequence
from typing import Annotated

import torch

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.asking import spread
from space_cli.core.losses import split
from space_cli.core.phrasing import AUDIT_OPEN, KIND_QUESTION, TEXT_HOME_QUESTION, TEXT_KIND_QUESTION
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe, Prompt

NEEDS: frozenset[str] = frozenset()
BATCH = 8
"""Prompts at once: full logits of 8 prompts of 640 tokens and 32,000 words are 0.3 GB in half precision."""


class Options(BaseModel):
    """How much to compare."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=0)] = 64  # of each source: general images, images of other concepts
    names: Annotated[int, Field(ge=0)] = 10  # other concepts asked about in words


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Compare distributions on general images, other concepts' images and text-only prompts."""
    retained = [one.image for one in spread(probe.retain, options.images)]
    images = [*probe.general[: options.images], *retained]
    asked = list(itertools.islice(itertools.cycle((*AUDIT_OPEN, KIND_QUESTION)), len(images)))
    texts = _text_questions(probe, options.names)
    values: list[float] = []
    groups: list[int] = []
    for shown, questions in ((images, asked), (None, texts)):
        for divergences in _compare(before, after, shown, questions):
            groups += [groups[-1] + 1 if groups else 0] * len(divergences)
            values += divergences
    return score(
        [0.0] * len(values),
        values,
        better="lower",
        groups=groups,
        seed=probe.seed,
        unit="nats/token",
        note=f"{len(values)} tokens of answers to {len(images)} images and {len(texts)} text prompts",
    )


def _text_questions(probe: Probe, names: int) -> list[str]:
    phrases = [probe.phrases.get(name, name) for name in probe.names[:names]]
    forms = (TEXT_KIND_QUESTION, TEXT_HOME_QUESTION)
    return [question for question, _ in probe.facts] + [form.format(phrase=one) for one in phrases for form in forms]


@torch.inference_mode()
def _compare(
    before: Responder, after: Responder, images: Sequence[Image] | None, questions: Sequence[str]
) -> list[list[float]]:
    answers = before.answer(images, questions) if questions else []
    rows = [row for row, answer in enumerate(answers) if answer]
    found = []
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        prompts = [
            Prompt(questions[row], answers[row], None if images is None else place) for place, row in enumerate(chosen)
        ]
        shown = None if images is None else [images[row] for row in chosen]
        old, new = (_answer_logits(responder, prompts, shown) for responder in (before, after))
        for was, now in zip(old, new, strict=True):
            first, second = (torch.log_softmax(logits.float(), dim=-1) for logits in (was, now))
            found.append((first.exp() * (first - second)).sum(dim=-1).clamp(min=0).tolist())
    return found


def _answer_logits(responder: Responder, prompts: Sequence[Prompt], images: Sequence[Image] | None) -> list[Tensor]:
    """Return the logits of each prompt's answer tokens, [tokens, words], laid out by the checkpoint's own template."""
    batch = responder.batch(prompts)
    logits = responder.answer_logits(batch, None if images is None else responder.features(images))
    return list(split(logits, batch))
