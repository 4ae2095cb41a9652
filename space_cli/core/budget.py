"""The retain budget: how far answers drift that nothing was trained on, and how many neighbours lose their names."""

from collections.abc import Mapping, Sequence

import torch

from torch import Tensor

from space_cli.core.context import STATISTICS_BATCH, EditContext, Factors, batched
from space_cli.core.errors import GateRefusal
from space_cli.core.hooks import fixed
from space_cli.core.knowledge import name_of
from space_cli.core.losses import next_labels, split
from space_cli.core.naming import Naming
from space_cli.core.types import Prompt
from space_cli.core.watch import Watch


def within_budget(context: EditContext, rounded: Mapping[str, Tensor], method: str) -> dict[str, float]:
    """Measure what the rounded edits cost.

    Args:
        context: The erasure.
        rounded: Layer -> dense ΔW [d_out, d_in] as the checkpoint's dtype will hold it.
        method: Named where it did nothing.

    Returns:
        The source-free signals of the receipt.

    Raises:
        GateRefusal: A budget would break, or the method neither changed a weight nor gave an instruction.
    """
    if not rounded:
        if not context.outcome.instruction:
            raise GateRefusal(
                f"the method `{method}` changed nothing: nothing was written",
                hint="raise `--set lr=…` or `--set steps=…`, or choose another `--scope` or `--method`",
            )
        return {}
    if context.rows["neighbour"] and not context.sure_neighbours:
        context.progress.note(
            "the checkpoint surely named no neighbour: the budget for names that are lost cannot break, and the drift "
            "of answers alone tells what is kept"
        )
    device = context.features.device
    found = cost(context, {layer: delta.to(device) for layer, delta in rounded.items()})
    for name, limit in broken(context, found).items():
        raise GateRefusal(
            f"the retain budget would break: {name} is {found[name]:.4f}, at most {limit:.4f} is allowed; "
            "nothing was written",
            hint="lower `--set lr=…` or `--set steps=…`, index more neighbours, or raise the budget",
            figures=found,
        )
    return found


def cost(context: EditContext, factors: Factors) -> dict[str, float]:
    """Return `retain_kl`, nats per token, and `neighbours_changed`, a share, of edits."""
    naming = Naming(context.responder, context.concept, context.knowledge.forms, context.seed)
    watch = Watch(context, naming, context.of_role("holdout"))
    return {"retain_kl": watch.retain_kl(factors), "neighbours_changed": neighbours_changed(context, factors)}


def broken(context: EditContext, found: Mapping[str, float]) -> dict[str, float]:
    """Return the limit of each figure that is not within it, as no number is."""
    limits = {"retain_kl": context.budget.retain_kl, "neighbours_changed": context.budget.neighbours}
    return {name: limit for name, limit in limits.items() if not found[name] <= limit}


def neighbours_changed(context: EditContext, factors: Factors) -> float:
    """Return the share of surely named neighbours that are named otherwise than before."""
    return len(lost_names(context, factors)) / max(len(context.sure_neighbours), 1)


def lost_names(context: EditContext, factors: Factors) -> list[Prompt]:
    """Return the surely named neighbours that are named otherwise, with what was said of them before."""
    sure = context.sure_neighbours
    if not sure:
        return []
    form = next(iter(context.knowledge.forms.values()))
    with context.edited(fixed(factors)):
        again = _said_again(context, sure)
        moved = [prompt for prompt in sure if prompt not in again]
        rows = [prompt.image for prompt in moved if prompt.image is not None]
        after = context.responder.answer_features(context.features, [one.question for one in moved], about=rows)
    return [
        prompt for prompt, said in zip(moved, after, strict=True) if name_of(prompt.answer, form) != name_of(said, form)
    ]


@torch.inference_mode()
def _said_again(context: EditContext, prompts: Sequence[Prompt]) -> set[Prompt]:
    """Return the prompts whose answers would be given again, to the word.

    Of an answer that is there to be read, one pass tells whether each of its tokens is still the likeliest after those
    before it. To give another takes as many passes as it has tokens.
    """
    again: set[Prompt] = set()
    for chosen in batched(prompts, STATISTICS_BATCH):
        batch = context.responder.batch(chosen)
        likeliest = context.responder.answer_logits(batch, context.features).argmax(-1)
        as_before = split(likeliest == next_labels(batch), batch)
        again |= {prompt for prompt, tokens in zip(chosen, as_before, strict=True) if bool(tokens.all())}
    return again
