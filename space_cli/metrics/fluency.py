"""Perplexity of the answers after erasing, as the checkpoint before erasing reads them; names do not count.

    fluency = exp(mean over answers a of mean over tokens t of a, names left out, of -log p(t))

A wrong name is unlikely by design and gibberish by accident; leaving the names out separates the two. Unit: perplexity.
Direction: lower is better.

References:
    Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models (Li et al., 2024),
    arXiv:2405.12523, whose Fluency is the perplexity of answers with the concept's tokens masked.

Deviations:
    - p is the checkpoint's before erasing, since one that learnt gibberish finds gibberish likely. The note adds the
      perplexity of the erased checkpoint reading its own answers.
    - Every known name is left out, not the concept's alone. A public reimplementation keeps name tokens and counts each
      as one word of the vocabulary drawn blindly, which adds the same to every answer with a name.
    - Each answer counts the same, however long.
"""

import math

from collections.abc import Sequence
from typing import Annotated

import torch

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.losses import split, token_log_likelihood
from space_cli.core.matching import spans, trimmed, words
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe, Prompt

NEEDS: frozenset[str] = frozenset()
BATCH = 8
"""Prompts at once: full logits of 8 prompts of 640 tokens and 32,000 words are 0.3 GB in half precision."""


class Options(BaseModel):
    """How much to read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=1)] = 32  # of each source: the concept's own, general ones


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Read both checkpoints' answers with the one before erasing; each answer is one independent value."""
    images = [*(one.image for one in probe.forget[: options.images]), *probe.general[: options.images]]
    questions = [AUDIT_OPEN[row % len(AUDIT_OPEN)] for row in range(len(images))]
    names = (*probe.aliases, *probe.names)
    told = [responder.answer(images, questions) if images else [] for responder in (before, after)]
    old, new = (_surprise(before, images, questions, answers, names) for answers in told)
    shared = [row for row in range(len(images)) if old[row] and new[row]]
    own = _surprise(after, images, questions, told[1], names)
    record = score(
        [sum(old[row]) / len(old[row]) for row in shared],
        [sum(new[row]) / len(new[row]) for row in shared],
        better="lower",
        seed=probe.seed,
        unit="perplexity",
        note=f"{_unique(told[1]):.2f} of an answer's words are unique, {_unique(told[0]):.2f} before; "
        f"{sum(not answer.strip() for answer in told[1])} of {len(images)} answers are empty{_itself(own, shared)}",
    )
    exponents = {key: _exponent(getattr(record, key)) for key in ("before", "after", "low", "high")}
    # A difference of the answers would be one of logarithms.
    return record.model_copy(update=exponents).sampled(())


@torch.inference_mode()
def _surprise(
    reader: Responder,
    images: Sequence[Image],
    questions: Sequence[str],
    answers: Sequence[str],
    names: Sequence[str],
) -> list[list[float]]:
    """Return the nats of each answer token that is no part of a name, by answer."""
    found: list[list[float]] = [[] for _ in answers]
    rows = [row for row, answer in enumerate(answers) if answer.strip()]
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        prompts = [Prompt(questions[row], answers[row], place) for place, row in enumerate(chosen)]
        batch = reader.batch(prompts)
        logits = reader.answer_logits(batch, reader.features([images[row] for row in chosen]))
        told = split(-token_log_likelihood(logits, batch), batch)
        for place, (row, nats) in enumerate(zip(chosen, told, strict=True)):
            hidden = _name_tokens(reader, prompts[place], batch.labels[place], names)
            found[row] = [value for token, value in enumerate(nats.tolist()) if token not in hidden]
    return found


def _name_tokens(reader: Responder, prompt: Prompt, labels: torch.Tensor, names: Sequence[str]) -> set[int]:
    """Find the answer tokens of names: those between the answer cut before and cut after the name.

    A full stop after it is no part of it, unless the tokenizer has both in one token.
    """
    whole = labels[labels != -100].tolist()
    hidden: set[int] = set()
    for first, last in spans(prompt.answer, names):
        start, end = trimmed(prompt.answer, first, last)
        before, after, closed = (_cut(reader, prompt, place) for place in (start, end, last))
        until = len(after) if whole[: len(after)] == after else _shared(whole, closed)
        hidden.update(range(_shared(whole, before), until))
    return hidden


def _cut(reader: Responder, prompt: Prompt, end: int) -> list[int]:
    """Return the tokens of the beginning of an answer."""
    part = Prompt(prompt.question, prompt.answer[:end].rstrip(), 0, ends=False)
    if not part.answer:
        return []
    labels = reader.batch([part]).labels[0]
    found: list[int] = labels[labels != -100].tolist()
    return found


def _shared(whole: Sequence[int], part: Sequence[int]) -> int:
    same = [one == other for one, other in zip(whole, part, strict=False)]
    return same.index(False) if False in same else len(same)


def _itself(own: Sequence[Sequence[float]], shared: Sequence[int]) -> str:
    nats = _exponent(sum(sum(own[row]) / len(own[row]) for row in shared) / len(shared)) if shared else None
    return "" if nats is None else f"; {nats:.2f} as the erased checkpoint reads itself"


def _unique(answers: Sequence[str]) -> float:
    shares = [len(set(split)) / len(split) for answer in answers if (split := words(answer))]
    return sum(shares) / len(shares) if shares else 0.0


def _exponent(nats: float | None) -> float | None:
    # e^80 stands for "beyond measure"; more would overflow no float but mean no more either.
    return None if nats is None else math.exp(min(nats, 80.0))
