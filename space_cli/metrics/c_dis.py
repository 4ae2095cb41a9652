"""How far the name's probability fell where the checkpoint used to say it, in nats per name token (MMUBench's C-Dis).

    c_dis = mean over t in T of p(t) log(p(t) / q(t))

T: the tokens of the name inside the answers that gave it before erasing, to open questions about the concept's own
images. p(t) and q(t): the probability of that token before and after erasing, both given the words that were said
up to there. Unit: nats per token. Direction: higher is better; 0 is no change, below 0 the name became likelier.

References:
    Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models (Li et al., 2024),
    arXiv:2405.12523. Its code is not public; the formula is that of a public reimplementation
    (github.com/Harry24k/machine-unlearning-pytorch), not checked against the paper's text.

Deviations:
    - The reimplementation carries a minus sign; here more forgetting is more distance.
    - T is read from answers given, not from a fixed answer, so that no unusual wording lowers p. An image that was
      not named before has no token in T: there is nothing to lose.
    - Not a distance in the strict sense: one term of KL(p || q), neither symmetric nor bounded.
    - In scripts without spaces the name's tokens are those of the whole unspaced run of text.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.asking import ask_each
from space_cli.core.losses import split, token_log_likelihood
from space_cli.core.matching import spans, trimmed
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe, Prompt

NEEDS = frozenset({"forget"})
DEFAULT = False
"""It runs only where `--metrics` names it."""
BATCH = 8
"""Prompts at once: full logits of 8 prompts of 640 tokens and 32,000 words are 0.3 GB in half precision."""


class Options(BaseModel):
    """How much to compare."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrasings: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Read the name's tokens with both checkpoints; images are the independent unit."""
    images, questions = [one.image for one in probe.forget], AUDIT_OPEN[: options.phrasings]
    asked = [(row, question) for row in range(len(images)) for question in questions]
    answers = ask_each(before, images, questions)
    said = [
        (row, prompt)
        for (row, question), answer in zip(asked, answers, strict=True)
        if (prompt := _where_said(question, answer, probe))
    ]
    shown, prompts = [images[row] for row, _ in said], [prompt for _, prompt in said]
    old, new = (_log_p(responder, shown, prompts) for responder in (before, after))
    terms = [(first.exp() * (first - second)).tolist() for first, second in zip(old, new, strict=True)]
    return score(
        [0.0] * sum(map(len, terms)),
        [value for one in terms for value in one],
        better="higher",
        groups=[row for (row, _), one in zip(said, terms, strict=True) for _ in one],
        seed=probe.seed,
        unit="nats/token",
        note=f"{len(prompts)} of {len(answers)} answers named it before; a token of the name had "
        f"probability {_mean_p(old)}, now {_mean_p(new)}",
    )


def _where_said(question: str, answer: str, probe: Probe) -> Prompt | None:
    """Return the first name in an answer, to be scored after the words before it."""
    found = spans(answer, probe.aliases, others=probe.names)
    if not found:
        return None
    start = opening = found[0][0]
    start, end = trimmed(answer, start, max(last for first, last in found if first == start))
    return Prompt(question, answer[start:end], 0, lead=answer[:opening].rstrip(), ends=False)


@torch.inference_mode()
def _log_p(responder: Responder, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[Tensor]:
    """Return log p of each scored token, by prompt; each has its own image."""
    found: list[Tensor] = []
    for start in range(0, len(prompts), BATCH):
        chosen = prompts[start : start + BATCH]
        batch = responder.batch([replace(prompt, image=row) for row, prompt in enumerate(chosen)])
        logits = responder.answer_logits(batch, responder.features(images[start : start + BATCH]))
        found += split(token_log_likelihood(logits, batch), batch)
    return found


def _mean_p(log_p: Sequence[Tensor]) -> str:
    return f"{torch.cat(list(log_p)).exp().mean():.3f}" if log_p else "none"
