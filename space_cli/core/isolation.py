"""Dual-constraint semantic isolation: the terms that are trained inside the safe subspace of retained knowledge.

What asks about the anchors is put together in `core/anchor_terms.py`; L_relearn comes from `core/adversary.py`.

    L = L_task + λ_name·L_name + λ_beg·L_begin + λ_stu·L_stutter + λ_deny·L_deny + λ_anc·L_orth + λ_div·L_div
        + λ_rel·L_relearn + λ_ear·L_earlier + λ_attr·L_attr + λ_ret·KL_retain + λ_aff·KL_yes + λ_word·KL_word
        + λ_leak·leak + λ_size·size

Shapes: b = anchors in a step, p = visual tokens, v = tower width, h = decoder width.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torch import Tensor

from space_cli.core import phrasing
from space_cli.core.context import EditContext, Factors, batched
from space_cli.core.jitter import Jitter
from space_cli.core.losses import answer_mask, next_labels, token_kl
from space_cli.core.memory import rows_at_once
from space_cli.core.types import Batch, Prompt


def task_loss(context: EditContext, features: Tensor, rows: list[int]) -> Tensor:
    """Return the cross-entropy of each proxy's own answer, given these features in the proxy's place.

    Questions and answers are those of the checkpoint's own round before the run, so the anchors overwrite the concept
    with what they are, in the wording that goes with each question.
    """
    batch = context.responder.batch(own_prompts(context, rows))
    return F.cross_entropy(context.responder.answer_logits(batch, features).float(), next_labels(batch))


def own_prompts(context: EditContext, rows: Sequence[int]) -> list[Prompt]:
    """Return what these proxies were asked before the run and answered, about the images of a step in their order."""
    # An oracle may train on more images than there are proxies; they are told what the proxies in turn are.
    asked = [context.knowledge.own[row % len(context.rows["forget"])] for row in rows]
    return [Prompt(one.question, one.answer, i) for i, one in enumerate(asked)]


def name_loss(told: Sequence[Tensor], beta: float) -> Tensor:
    """Return the negative preference of answers that must not be given, whose reference log p is zero.

    In place of the log p of an answer stand its log odds, log p - log(1 - p). The two agree where the answer is
    unlikely. Where it is certain, as on hardened anchors and under the adversary, log p hardly answers to the logits
    any more, and what is certain would be the last to go.

    Args:
        told: log p of the tokens of each answer under the edited checkpoint, b times [t], nats. An answer counts by the
            mean over its tokens, and is certain where all of them are.
        beta: Sharpness per nat.

    References:
        Negative Preference Optimization (Zhang et al., 2024), arXiv:2404.05868, with π_ref(name | anchor) = 1, as
        hardening makes it.
    """
    mean = torch.stack([tokens.mean() for tokens in told])
    whole = torch.stack([tokens.sum() for tokens in told]).clamp(max=CERTAIN)
    odds = mean - torch.log(-torch.expm1(whole))
    return (2 / beta) * F.softplus(beta * (odds + NAME_MARGIN)).mean()


CERTAIN = -1e-5
"""Log p of an answer above which no logit tells in single precision how certain it is."""
NAME_MARGIN = 4.0
"""Nats per token under which a name keeps being pushed: at -4 it is about as likely as any of fifty others."""


def drift_terms(
    context: EditContext,
    prompts: Sequence[Prompt],
    features: Tensor | None,
    factors: Factors,
    jitter: tuple[Jitter, str] | None = None,
) -> Iterator[Tensor]:
    """Yield what sums to the drift over all these prompts, as many a forward pass as fit; nothing for no prompt.

    Args:
        context: The erasure.
        prompts: With answers.
        features: What they are asked about, [n, p, v]; None for text only.
        factors: The change.
        jitter: Noise for both sides of the divergence, and the turn it is drawn by.
    """
    together = rows_at_once(context.responder.model, 0 if features is None else features.shape[1])
    batches = [
        (context.responder.batch(chosen[start : start + together]), shown, reference)
        for chosen, shown, reference in _shown(context, prompts, features, jitter)
        for start in range(0, len(chosen), together)
    ]
    tokens = [int(answer_mask(batch).sum()) for batch, _, _ in batches]
    for (batch, shown, reference), count in zip(batches, tokens, strict=True):
        if count:
            yield drift(context, batch, shown, factors, reference) * (count / sum(tokens))


def _shown(
    context: EditContext, prompts: Sequence[Prompt], features: Tensor | None, jitter: tuple[Jitter, str] | None
) -> Iterator[tuple[list[Prompt], Tensor | None, Factors]]:
    """Yield all prompts of a kind with the features they index and the change under which they are answered rightly.

    Noise is drawn for all of a kind at once: how many of them fit in a pass must not decide what they are shown.
    """
    wholes = [
        (c, reference) for some, reference in context.referred(prompts, features) for c in batched(some, len(some))
    ]
    for turn, (chosen, reference) in enumerate(wholes):
        if jitter and features is not None and chosen[0].image is not None:
            noise, step = jitter
            yield *noise.beside(chosen, f"{step} {turn}"), reference
        else:
            yield chosen, features, reference


def drift(context: EditContext, batch: Batch, features: Tensor | None, factors: Factors, reference: Factors) -> Tensor:
    """Return KL(reference || edited) on a batch's answers, nats per token; differentiable in the factors."""
    with torch.no_grad(), context.edited(reference):
        before = context.responder.answer_logits(batch, features)
    with context.edited(factors):
        after = context.responder.answer_logits(batch, features)
    return token_kl(before, after).mean()


def orthogonality(pooled: Tensor, direction: Tensor) -> Tensor:
    """Return text-anchor repulsion: the mean squared positive cosine to the concept's direction.

    Args:
        pooled: Mean hidden state of each anchor's visual tokens, [b, h].
        direction: Of the concept's text, unit, [h].
    """
    return F.cosine_similarity(pooled, direction[None], dim=-1).clamp(min=0).pow(2).mean()


def spectral_entropy(pooled: Tensor) -> Tensor:
    """Return the entropy of the anchors' normalised spectrum as a share of its maximum, in [0, 1].

    One anchor has one singular value, so its entropy is 0 whatever the edit does.
    """
    if len(pooled) < 2:
        return pooled.sum() * 0
    values: Tensor = torch.linalg.svdvals(F.normalize(pooled.float(), dim=-1)).pow(2)
    shares = values / values.sum()
    return -(shares * shares.clamp(min=1e-12).log()).sum() / torch.log(torch.tensor(float(len(pooled))))


def pooled_states(context: EditContext, features: Tensor, layer: int) -> Tensor:
    """Return the mean hidden state of each image's visual tokens after `layer` blocks, [b, h] float32.

    In half precision the sum over hundreds of tokens overflows where a hidden state is large, as some are.
    """
    responder = context.responder
    batch = responder.batch([Prompt(phrasing.ERASE_OPEN[0], "", i) for i in range(len(features))])
    visual = (batch.ids == responder.image_token)[..., None]
    hidden = responder.hidden(batch, features, layer).float()
    return (hidden * visual).sum(1) / visual.sum(1)


def middle_block(context: EditContext, depth: float) -> int:
    """Return after which decoder block `depth`, a share of all, ends; at least the first."""
    config: Any = context.responder.model.config
    blocks: int = config.get_text_config().num_hidden_layers
    return max(1, round(depth * blocks))


@torch.no_grad()
def concept_direction(context: EditContext, layer: int) -> Tensor:
    """Return where the concept's text points, away from other words in the same question: a unit vector [h] float32.

    A checkpoint that said nothing about any other word has none to point away from.
    """
    opening = phrasing.TEXT_KIND_QUESTION.partition("{")[0]
    spoken = context.concept.spoken
    texts = dict.fromkeys(p.question for p in context.knowledge.texts if not phrasing.asks_about(p.question, spoken))
    words = [question for question in texts if question.startswith(opening)][:64]
    own = [phrasing.TEXT_KIND_QUESTION.format(phrase=spoken)]
    means = []
    for questions in filter(None, (own, words)):
        batch = context.responder.batch([Prompt(q, "") for q in questions])
        hidden = context.responder.hidden(batch, None, layer).float() * batch.mask[..., None]
        means.append((hidden.sum(1) / batch.mask.sum(1, keepdim=True)).mean(0))
    return F.normalize(means[0] - sum(means[1:]), dim=0)
