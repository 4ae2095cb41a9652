"""Ours: dual-constraint semantic isolation on hardened anchors, re-hardened as the checkpoint changes.

References:
    SPACE: Source-Free Proxy Anchor Concept Erasure for MLLMs (Zhang et al., 2026), arXiv:2606.09868

Deviations:
    The paper's text was not available in full; this implements its published description and adds to it:
    - the proxies are hardened (features pushed until the checkpoint names the concept) before and during training;
    - `ΔW = B·Uᵀ` with U inside the safe subspace replaces the projected gradient, which Adam would leave;
    - a bounded preference against the name and against "yes", a divergence term on retained prompts and on
      identity-free questions, and an explicit leak term join the three published terms;
    - `--method space-paper` keeps the published terms alone.
"""

from collections.abc import Iterator

import torch

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core import isolation
from space_cli.core.anchor_bank import AnchorBank, anchor_prompts, identity_free_prompts
from space_cli.core.context import EditContext, Saved
from space_cli.core.hardening import Hardening
from space_cli.core.isolation import Subspace, Weights
from space_cli.core.naming import Naming
from space_cli.core.types import Edit
from space_cli.core.watch import Watch

NEEDS_FORGET_IMAGES = False


class Options(BaseModel):
    """Settings of the method; one set serves every concept and model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=120, ge=1, description="Training steps at most")
    lr: float = Field(default=2e-3, gt=0, description="Adam's step, in units of the factors")
    rank: int = Field(default=64, ge=1, description="Trained directions a layer")
    leak: float = Field(default=1e-2, ge=0, lt=1, description="Share of retained energy left unprotected")
    batch: int = Field(default=16, ge=1, description="Anchors a step")
    retain_batch: int = Field(default=24, ge=1, description="Retained prompts a step")
    refresh: int = Field(default=10, ge=1, description="Steps between two re-hardenings")
    refresh_rows: int = Field(default=24, ge=1, description="Anchors hardened again each time")
    harden_steps: int = Field(default=24, ge=1)
    radius: float = Field(default=0.9, gt=0, description="Shift of a token, in units of its image's mean token norm")
    depth: float = Field(default=0.5, ge=0, le=1, description="Where L_orth and L_div look, as a share of the layers")
    lambda_name: float = 1.0
    lambda_deny: float = 0.5
    lambda_attribute: float = 1.0
    lambda_anchor: float = Field(default=0.1, description="λ_anc of L_orth")
    lambda_diversity: float = Field(default=0.05, description="λ_div of L_div")
    lambda_retain: float = 1.0
    lambda_leak: float = 100.0
    lambda_size: float = 1.0
    check: int = Field(default=20, ge=1, description="Steps between two looks at the stop rule")


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the factors until the held-out anchors no longer name the concept, and yield them."""
    torch.manual_seed(context.seed)
    generator = torch.Generator().manual_seed(context.seed)
    naming = Naming(context.responder, context.concept, context.knowledge.forms, context.seed)
    hardening = Hardening(steps=options.harden_steps, radius=options.radius)
    bank = AnchorBank(context, naming, hardening, generator)
    bank.harden_base()
    prompts = [*anchor_prompts(naming, len(bank.base)), *identity_free_prompts(len(bank.base))]
    moments = context.moments(prompts, bank.base, label="anchor keys")
    subspace = Subspace(
        context, {layer: moments[layer].mean() for layer in context.layers}, leak=options.leak, rank=options.rank
    )
    watch = Watch(context, naming, bank.pushed(context.of_role("holdout"), hardening))
    yield from _train(context, options, Parts(bank, naming, subspace, watch))


class Parts:
    """What one training run works with."""

    def __init__(self, bank: AnchorBank, naming: Naming, subspace: Subspace, watch: Watch) -> None:
        self.bank = bank
        self.naming = naming
        self.subspace = subspace
        self.watch = watch


def _train(context: EditContext, options: Options, parts: Parts) -> Iterator[Edit]:
    subspace, bank, watch = parts.subspace, parts.bank, parts.watch
    optimiser = torch.optim.Adam(list(subspace.left.values()), lr=options.lr)
    layer = max(1, round(options.depth * (len(context.layers) - 1)))
    direction = isolation.concept_direction(context, layer)
    retained = context.retained_batches(options.retain_batch, context.seed)
    with context.progress.task("erase", options.steps) as advance:
        for step in range(options.steps):
            if step and step % options.refresh == 0:
                rows = torch.randperm(len(bank.proxies))[: options.refresh_rows]
                bank.refresh(subspace.factors(), rows)
            terms = _terms(context, options, parts, step, layer, direction)
            terms["retain"] = options.lambda_retain * isolation.drift(
                context, next(retained), context.features, subspace.factors()
            )
            loss = torch.stack(list(terms.values())).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            subspace.bound()
            row = {"step": step + 1, "loss": float(loss), **{k: float(v) for k, v in terms.items()}}
            if (step + 1) % options.check == 0:
                row |= watch.look(subspace.factors())
            context.record(row)
            advance(loss=row["loss"], **watch.latest)
            if watch.done:
                break
    yield from subspace.edits()


def _terms(
    context: EditContext, options: Options, parts: Parts, step: int, layer: int, direction: torch.Tensor
) -> dict[str, torch.Tensor]:
    subspace, naming = parts.subspace, parts.naming
    factors = subspace.factors()
    features, rows = parts.bank.draw(options.batch)
    question = list(context.knowledge.forms)[step % len(context.knowledge.forms)]
    with context.edited(factors):
        task = isolation.task_loss(context, features, rows, question)
        named = isolation.name_loss(naming.of(naming.names[step % len(naming.names)], features), BETA)
        denied = isolation.denial_loss(naming, features, step, BETA)
        pooled = isolation.pooled_states(context, features, layer)
    return {
        "task": task,
        "name": options.lambda_name * named,
        "deny": options.lambda_deny * denied,
        "orth": options.lambda_anchor * isolation.orthogonality(pooled, direction),
        "div": -options.lambda_diversity * isolation.spectral_entropy(pooled),
        "attribute": options.lambda_attribute * isolation.attribute_loss(context, features, factors),
        "leak": options.lambda_leak * subspace.leak(),
        "size": options.lambda_size * subspace.size(),
    }


BETA = 0.5
"""Sharpness of the preference per nat; METHODS of the field use 0.1 to 1."""
