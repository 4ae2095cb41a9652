"""The retain budget: what an erasure may cost on knowledge it never trained on."""

import math

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from torch import Tensor

from space_cli.core.context import STATISTICS_BATCH, EditContext
from space_cli.core.errors import GateRefusal
from space_cli.core.knowledge import is_name, name_of
from space_cli.core.losses import answer_mask
from space_cli.core.naming import Naming
from space_cli.core.recipe import EraseRequest
from space_cli.core.types import Prompt
from space_cli.core.watch import Watch


@dataclass(frozen=True)
class _Gate:
    name: str
    found: float
    limit: float


def within_budget(context: EditContext, rounded: Mapping[str, Tensor], request: EraseRequest) -> dict[str, float]:
    """Measure what the rounded edits cost on held-out knowledge.

    Args:
        context: The erasure.
        rounded: Layer -> dense ΔW [d_out, d_in] as the checkpoint's dtype will hold it.
        request: Says what is allowed.

    Returns:
        The source-free signals of the receipt.

    Raises:
        GateRefusal: A budget would break, or the method neither changed a weight nor gave an instruction.
    """
    if not rounded:
        if not context.outcome.instruction:
            raise GateRefusal(f"the method `{request.method}` changed nothing: nothing was written")
        return {}
    naming = Naming(context.responder, context.concept, context.knowledge.forms, context.seed)
    watch = Watch(context, naming, context.of_role("holdout"))
    device = context.features.device
    factors = {layer: delta.to(device) for layer, delta in rounded.items()}
    changed = neighbours_changed(context, factors)
    signals = {"retain_kl": watch.retain_kl(factors), "neighbours_changed": changed}
    gates = (
        _Gate("retain_kl", signals["retain_kl"], request.max_retain_kl),
        _Gate("neighbours_changed", changed, request.max_neighbour_loss),
    )
    for gate in gates:
        if gate.found > gate.limit:
            raise GateRefusal(
                f"the retain budget would break: {gate.name} is {gate.found:.4f}, at most {gate.limit:.4f} is allowed; "
                "nothing was written",
                hint="lower `--set lr=…` or `--set steps=…`, index more neighbours, or raise the budget",
                figures=signals,
            )
    return signals


def neighbours_changed(context: EditContext, factors: Mapping[str, Tensor]) -> float:
    """Return the share of surely named neighbours that are named otherwise than before.

    A guess about a thing that the checkpoint has no name for changes with any breath of the weights, and nobody relies
    on it; so only answers that it held for more likely than not are counted, and of these only those that give a name:
    "I am not sure" names nothing.
    """
    question, form = next(iter(context.knowledge.forms.items()))
    features = context.of_role("neighbour")
    before = context.responder.answer_features(features, [question] * len(features)) if len(features) else []
    sure = [row for row in _sure(context, features, question, before) if is_name(name_of(before[row], form))]
    if not sure:
        return 0.0
    with context.edited(factors):
        after = context.responder.answer_features(features[sure], [question] * len(sure))
    moved = [name_of(before[row], form) != name_of(said, form) for row, said in zip(sure, after, strict=True)]
    return sum(moved) / len(sure)


@torch.inference_mode()
def _sure(context: EditContext, features: Tensor, question: str, answers: list[str]) -> list[int]:
    """Return the rows whose whole answer has more than half of the probability."""
    rows = [row for row, answer in enumerate(answers) if answer]
    sure: list[int] = []
    for start in range(0, len(rows), STATISTICS_BATCH):
        chosen = rows[start : start + STATISTICS_BATCH]
        batch = context.responder.batch([Prompt(question, answers[row], row) for row in chosen])
        whole = context.responder.log_likelihood(batch, features) * answer_mask(batch).sum(-1)
        sure += [row for row, nats in zip(chosen, whole.tolist(), strict=True) if nats > -math.log(2)]
    return sure
