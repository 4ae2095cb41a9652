"""Ours: dual-constraint semantic isolation on hardened anchors, re-hardened as the checkpoint changes.

References:
    SPACE: Source-Free Proxy Anchor Concept Erasure for MLLMs (Zhang et al., 2026), arXiv:2606.09868

Deviations:
    The paper's text was not available in full; this implements its published description and adds to it:
    - the proxies are hardened (features and, apart from that, hidden states at two depths pushed until the checkpoint
      names the concept) before and during training;
    - `ΔW = B·Uᵀ` with U inside the safe subspace replaces the projected gradient, which Adam would leave;
    - the subspace is widened where the name on held-out anchors stops fading;
    - a bounded preference, in log odds, against the name, against its first token in other wordings too, against the
      word before it in its place and against "yes", the concept's kind as the answer to the question for it, divergence
      terms on retained prompts, on retained "yes", on text-only questions about the concept and on identity-free
      questions, and an explicit leak term join the three published terms;
    - an adversary relearns the name on plain proxies while training goes on, and the name is pressed down with its
      adapters in place;
    - images of retained prompts are shown with noise on their features, fresh at each step, to both checkpoints;
    - at the end the retained prompts that drifted most are trained on more often;
    - on a checkpoint that was erased from before, knowledge is what it was before the first request, and the leak is
      that of all requests together; the names that they erased are pressed down on the anchors kept of them;
    - `--method space-paper` keeps the published terms alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from torch import Tensor

from space_cli.core import isolation
from space_cli.core.adversary import Adversary, Effort
from space_cli.core.anchor_bank import AnchorBank, anchor_prompts, identity_free_prompts
from space_cli.core.anchor_terms import AnchorTerms
from space_cli.core.budget import broken, cost
from space_cli.core.context import EditContext, Saved
from space_cli.core.descent import Descent
from space_cli.core.easing import ease
from space_cli.core.errors import UsageFault
from space_cli.core.hardening import Hardening
from space_cli.core.isolation_options import Options
from space_cli.core.jitter import Jitter
from space_cli.core.naming import Naming
from space_cli.core.rehearsing import Rehearsal
from space_cli.core.reminding import Reminders
from space_cli.core.subspace import Subspace
from space_cli.core.types import Edit, Prompt
from space_cli.core.watch import Watch

IMAGES_OPTION = "oracle"
"""The option with which this method, which needs no image of the concept, trains on some."""
KEEPS_STATE = True
"""It saves where it is from time to time, so that a run that was cut short is continued."""


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the factors until the held-out anchors no longer name the concept, and yield them.

    Raises:
        UsageFault: No anchor is held out, so that nothing would say when to stop.
    """
    _refuse_blind(context)
    torch.manual_seed(context.seed)
    generator = torch.Generator().manual_seed(context.seed)
    knowledge = context.knowledge
    naming = Naming(context.responder, context.concept, knowledge.forms, context.seed, kind=knowledge.kind)
    hardening = Hardening(steps=options.harden_steps, radius=options.radius, share=options.share)
    fresh = Hardening(steps=options.fresh_steps, radius=options.fresh_radius)
    bank = AnchorBank(context, naming, hardening, generator, fresh=fresh, depths=options.depths)
    if options.oracle:
        bank.take(context.forget_features())
    else:
        bank.harden_base()
    prompts = [*anchor_prompts(naming, len(bank.base)), *identity_free_prompts(len(bank.base))]
    moments = context.moments(prompts, bank.base, label="anchor keys")
    subspace = Subspace(
        context,
        {layer: moments.pop(layer).mean() for layer in context.layers},
        leak=options.leak,
        rank=options.rank,
        projection=options.projection,
    )
    del moments  # the means are enough, and a wide layer takes a gigabyte
    held_out = bank.pushed(context.of_role("holdout"), hardening)
    watch = Watch(context, naming, held_out, pushed=bool(options.refresh))
    anchors = AnchorTerms(context, naming, bank.base, _weights(options), options.beta)
    jitter = Jitter(context.features, options.jitter, context.seed) if options.jitter else None
    effort = Effort(options.relearn_steps, options.relearn_lr)
    adversary = Adversary(context, naming, bank.proxies, effort) if effort.steps else None
    descent = Descent(subspace, options.lr)
    _train(context, options, Parts(bank, anchors, descent, watch, Reminders(context), jitter, adversary))
    yield from subspace.edits()


def _refuse_blind(context: EditContext) -> None:
    if not context.rows["holdout"]:
        raise UsageFault(
            "no anchor is held out, on which training would see when to stop", hint="select with `--holdout 4` or more"
        )


def _weights(options: Options) -> dict[str, float]:
    """Return the weights of the terms about anchors."""
    return {
        "task": options.lambda_task,
        "name": options.lambda_name,
        "begin": options.lambda_begin,
        "stutter": options.lambda_stutter,
        "deny": options.lambda_deny,
        "kind": options.lambda_attribute,
        "attribute": options.lambda_attribute,
    }


@dataclass(frozen=True)
class Parts:
    """What one training run works with."""

    bank: AnchorBank
    anchors: AnchorTerms
    descent: Descent
    watch: Watch
    reminders: Reminders
    jitter: Jitter | None
    adversary: Adversary | None

    @property
    def subspace(self) -> Subspace:
        """Return what is trained."""
        return self.descent.subspace


def _train(context: EditContext, options: Options, parts: Parts) -> None:
    bank, watch, descent = parts.bank, parts.watch, parts.descent
    layer = isolation.middle_block(context, options.depth)
    text = (layer, isolation.concept_direction(context, layer))
    step = _restore(context, parts)
    with context.progress.task("erase", options.steps) as advance:
        advance(step)
        while step < options.steps + options.prolonged * parts.subspace.widened and not (
            watch.done and step >= options.least
        ):
            bank.reseed(step)
            if step and options.refresh and step % options.refresh == 0:
                context.save(_state(step, parts))
                watch.reached = bank.refresh(parts.subspace.factors(), options.refresh_rows, step // options.refresh)
            if step and parts.adversary and step % (options.refresh or options.check) == 0:
                parts.adversary.begin(step)
            row = descent.step(step + 1, _terms(context, options, parts, step, text))
            step += 1
            if step % options.check == 0:
                row |= watch.look(parts.subspace.factors())
                if step >= options.least and watch.stalled and parts.subspace.widened < options.widenings:
                    context.progress.note(f"step {step}: the subspace is too narrow for the concept, and is widened")
                    descent.widen()
                    watch.trail.clear()
            context.record(row)
            advance(loss=row["loss"], **watch.latest)
    context.outcome.steps = step
    if watch.done:
        context.outcome.stopped = "held-out anchors no longer name the concept"
    if parts.subspace.widened:
        context.outcome.stopped += f"; subspace widened {parts.subspace.widened} times"
    found = _settle(context, options, parts, text)
    context.outcome.stopped += ease(context, parts.subspace, watch, found, options.easings)
    context.outcome.signals = dict(watch.latest)


def _settle(context: EditContext, options: Options, parts: Parts, text: tuple[int, Tensor]) -> dict[str, float]:
    """Train on with what drifted most among the retained, and for as long as the retain budget would break.

    Where rehearsing has let the concept's name return, training goes on as well.

    Returns:
        What the change costs in the end (`core/budget.py`).
    """
    first, turn, rehearsal = context.outcome.steps, 0, Rehearsal(context)
    factors, gone = parts.subspace.factors(), not parts.watch.named
    found: dict[str, float] = {}
    while True:
        if turn >= options.rehearsals:
            found = cost(context, factors)
            kept = not broken(context, found) and not (gone and parts.watch.named)
            if kept or turn == options.rehearsals + options.repairs:
                break
        rehearsal.look(factors, f"{first} {turn}")
        if parts.adversary:
            parts.adversary.begin(first + turn * options.check)
        with context.progress.task("rehearse", options.check) as advance:
            for step in range(first + turn * options.check, first + (turn + 1) * options.check):
                parts.bank.reseed(step)
                rehearsed = (
                    {"rehearsed": options.lambda_rehearsed * share}
                    for share in rehearsal.terms(factors, str(step), options.rehearsed_batch)
                )
                terms = chain(_terms(context, options, parts, step, text), rehearsed)
                context.record(parts.descent.step(step + 1, terms))
                advance()
        parts.watch.look(factors)
        turn += 1
    context.outcome.steps = first + turn * options.check
    more = max(turn - options.rehearsals, 0) * options.check
    context.outcome.stopped += f"; {more} more to keep the retain budget" if more else ""
    return found


def _terms(
    context: EditContext, options: Options, parts: Parts, step: int, text: tuple[int, Tensor]
) -> Iterator[dict[str, Tensor]]:
    """Yield the terms of a step, those that share a forward pass together."""
    subspace = parts.subspace
    factors = subspace.factors()
    features, rows = parts.bank.draw(options.batch)

    def drift(prompts: Sequence[Prompt], kind: str) -> Iterator[Tensor]:
        turn = (parts.jitter, f"{step} {kind}") if parts.jitter else None
        return isolation.drift_terms(context, prompts, context.features, factors, turn)

    yield from parts.anchors.of(features, rows, factors, step)
    if parts.adversary and parts.adversary.begun:
        parts.adversary.attack(factors, step)
        for share in parts.adversary.terms(features, factors, step, options.beta):
            yield {"relearn": options.lambda_relearn * share}
    with context.edited(factors):
        if parts.reminders:
            erased = parts.reminders.named(step, options.batch)
            yield {"earlier": options.lambda_earlier * isolation.name_loss(erased, options.beta)}
        pooled = isolation.pooled_states(context, features, text[0])
        yield {
            "orth": options.lambda_anchor * isolation.orthogonality(pooled, text[1]),
            "div": -options.lambda_diversity * isolation.spectral_entropy(pooled),
        }
    kept = (
        (
            "retain",
            options.lambda_retain,
            drift(context.retained_prompts(step, options.retain_batch), "retain"),
        ),
        (
            "affirm",
            options.lambda_affirm,
            drift(context.affirmed_prompts(step, options.affirm_batch), "affirm"),
        ),
        ("word", options.lambda_word, isolation.drift_terms(context, context.word_prompts(), None, factors)),
    )
    for name, weight, shares in kept:
        for share in shares:
            yield {name: weight * share}
    yield {"leak": options.lambda_leak * subspace.leak(), "size": options.lambda_size * subspace.size()}


def _state(step: int, parts: Parts) -> Saved:
    """Return what cannot be computed again: factors, optimiser moments, anchors as last hardened, the last looks."""
    watch = parts.watch
    seen = {"calm": torch.tensor(watch.calm), "trail": torch.tensor(watch.trail, dtype=torch.float64)}
    return Saved(step, seen | parts.bank.state() | parts.descent.state())


def _restore(context: EditContext, parts: Parts) -> int:
    """Continue from a saved state, and return its step; 0 without one."""
    saved = context.saved
    if saved is None:
        return 0
    parts.bank.restore(saved.tensors)
    parts.watch.calm = int(saved.tensors["calm"])
    parts.watch.trail = saved.tensors["trail"].tolist()
    parts.descent.restore(saved.tensors)
    return saved.step
