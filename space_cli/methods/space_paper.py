"""The published description of SPACE, without our hardening: the baseline our own method has to beat.

References:
    SPACE: Source-Free Proxy Anchor Concept Erasure for MLLMs (Zhang et al., 2026), arXiv:2606.09868

Deviations:
    Neither code nor hyper-parameters are published. `L = L_task + λ_anc·L_orth + λ_div·L_div` on the anchors that text
    retrieval finds (`space select --ranking similarity`; its default re-ranks them). What is not told is filled in:
    - L_task is the cross-entropy of their own answers, a mean over the tokens of a step; a step sees `batch` anchors,
      not all of them.
    - L_orth is the mean squared cosine, where it is positive, between e_c and the mean state of an anchor's visual
      tokens at one depth. e_c is the concept's text in the decoder's space, less what other words in the same question
      have in common with it.
    - L_div is minus the spectral entropy of these states as a share of its maximum, so that λ_div is in units of it.
    - All weights of a layer are trained, and the optimiser's update is projected onto the safe subspace, since a
      gradient that is projected before Adam would not bound the leak.
    - `space erase` bounds the change, at every step, and refuses one over its retain budgets; the league lifts these.
    - Layers, rate and the share of retained energy left unprotected, which is that of `dcsi`, are ours.
"""

from collections.abc import Iterator

import torch

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core import isolation
from space_cli.core.context import EditContext
from space_cli.core.descent import Descent
from space_cli.core.subspace import LEAK, Subspace
from space_cli.core.types import Edit


class Options(BaseModel):
    """Settings of the published description."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=100, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    leak: float = Field(default=LEAK, ge=0, lt=1, description="Share of retained energy left unprotected")
    batch: int = Field(default=16, ge=2, description="Proxies a step")
    depth: float = Field(default=0.5, ge=0, le=1, description="Where L_orth and L_div look, as a share of the layers")
    lambda_anchor: float = 1.0
    lambda_diversity: float = 0.1


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train on the proxies as they were found, and yield the dense edits."""
    torch.manual_seed(context.seed)
    generator = torch.Generator().manual_seed(context.seed)
    proxies = context.of_role("forget")
    subspace = Subspace(context, {}, leak=options.leak, rank=0, projection="update")
    layer = isolation.middle_block(context, options.depth)
    direction = isolation.concept_direction(context, layer)
    descent = Descent(subspace, options.lr)
    with context.progress.task("erase", options.steps) as advance:
        for step in range(options.steps):
            rows = torch.randperm(len(proxies), generator=generator)[: options.batch]
            with context.edited(subspace.factors()):
                task = isolation.task_loss(context, proxies[rows], rows.tolist())
                pooled = isolation.pooled_states(context, proxies[rows], layer)
            terms = {
                "task": task,
                "orth": options.lambda_anchor * isolation.orthogonality(pooled, direction),
                "div": -options.lambda_diversity * isolation.spectral_entropy(pooled),
            }
            row = descent.step(step + 1, [terms])
            context.record(row)
            advance(loss=row["loss"])
    context.outcome.steps = options.steps
    yield from subspace.edits()
