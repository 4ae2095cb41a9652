"""Gradient ascent on the concept's name, on images of the concept.

    L = -ℓ_f                    ℓ = mean negative log p per answer token

References:
    MLLMU-Bench: Protecting Privacy in Multimodal Large Language Models (Liu et al., 2024), arXiv:2410.22108

Settings:
    Published: LoRA r = 16, α = 16, dropout .05, learning rate 2e-5, batch 4, one epoch. The defaults here suit the
    bundled checkpoint.

Deviations:
    - The forget samples are the erase-time open questions about each image, answered with the concept's name in the
      checkpoint's own wording; the published ones are labelled question-answer pairs.
    - The opening words before the name ("This is") are given and not scored, unless `loss_on=all` counts every token;
      the published losses count the whole answer.
    - The answer's tokens count; `loss_on=all` counts the question's too, which is what the published collator does.
    - The adapters sit on the layers of `--scope`, without dropout; published: every linear layer of the decoder.
    - `space erase` shrinks a layer's change to `--max-change` and refuses one over its retain budgets; the published
      runs have no bounds, and the league lifts these.
    - A number of steps replaces the epoch. There is no retain term: expect damage that grows with every step.
"""

from collections.abc import Iterator

from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.forget_set import Samples
from space_cli.core.tuning import Adapter, Settings, train
from space_cli.core.types import Edit

NEEDS_IMAGES = True


class Options(Settings):
    """Settings of gradient ascent."""


def loss_terms(forget_nll: Tensor) -> dict[str, Tensor]:
    """Return the terms of the loss.

    Args:
        forget_nll: Mean negative log p per token of each forget sample, [b].
    """
    return {"forget": -forget_nll.mean()}


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the adapters away from the name, and yield them."""
    samples = Samples(context, options.loss_on)
    adapter = Adapter(context, rank=options.rank, alpha=options.alpha)

    def terms(step: int) -> dict[str, Tensor]:
        forget = samples.forget(step, options.batch)
        with context.edited(adapter.factors()):
            return loss_terms(samples.forget_nll(forget))

    train(context, adapter, options, terms)
    yield from adapter.edits()
