"""What data-dependent methods train on: images of the concept with its name, and the checkpoint's own other answers.

The published methods take both halves from a labelled data set. Here the forget half is the images a person gives, with
the concept's name in the checkpoint's own wording; the retain half is what the checkpoint itself answers about images
and words that do not show the concept (`core.knowledge`).

Shapes: b = prompts, t = tokens, p = visual tokens, v = tower width.
"""

import random

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Literal, TypeVar

import torch

from pydantic import BaseModel
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.errors import GateRefusal, UsageFault
from space_cli.core.losses import answer_log_likelihood
from space_cli.core.types import Batch, Prompt

Drawn = TypeVar("Drawn")
LossOn = Literal["answer", "all"]
"""Tokens that a loss counts: the answer's, or the question's too, as the collator of MLLMU-Bench has it."""


def needs_images(method: ModuleType, options: BaseModel) -> bool:
    """Tell whether a method, with these options, trains on images of the concept.

    Args:
        method: Its module. `NEEDS_IMAGES = True` there means always; `IMAGES_OPTION = "…"` names the option that makes
            an otherwise source-free method use images.
        options: Its options, checked.
    """
    switch = getattr(method, "IMAGES_OPTION", None)
    return bool(getattr(method, "NEEDS_IMAGES", False) or (switch is not None and getattr(options, switch)))


def check_images(name: str, method: ModuleType, options: BaseModel, given: str | None) -> None:
    """Compare what a method trains on with what it was given, before a weight is read.

    Args:
        name: The method.
        method: Its module.
        options: Its options, checked.
        given: `--forget-images`.

    Raises:
        UsageFault: Images are needed and missing, or given to a method that does not look at them.
    """
    needed = needs_images(method, options)
    if needed and given is None:
        raise UsageFault(
            f"the method `{name}` needs images of the concept", hint="pass `--forget-images` with a folder of them"
        )
    if given is not None and not needed:
        switch = getattr(method, "IMAGES_OPTION", None)
        how = f"`--set {switch}=true` makes it use them" if switch else "leave out `--forget-images`"
        raise UsageFault(f"the method `{name}` is source-free: it does not use the images of `{given}`", hint=how)


class Samples:
    """Prompts of both halves, and their losses.

    Args:
        context: The erasure; its images of the concept are read.
        loss_on: Which tokens count.
    """

    def __init__(self, context: EditContext, loss_on: LossOn) -> None:
        self._context = context
        self._loss_on = loss_on
        self.features = context.forget_features()
        self.named = forget_prompts(context, len(self.features))

    def forget(self, step: int, size: int) -> Batch:
        """Return forget samples drawn for one step."""
        return self.batch(self.draw(self.named, size, step, "forget"))

    def retain(self, step: int, size: int) -> Batch:
        """Return retained prompts drawn for one step, text only in every fourth.

        Raises:
            GateRefusal: The checkpoint answered nothing that could be retained.
        """
        pools = self.retained_pools()
        return self.batch(self.draw(pools[-1] if step % 4 == 3 else pools[0], size, step, "retain"))

    def retained_pools(self) -> list[tuple[Prompt, ...]]:
        """Return the retained prompts about images and about words, or those of the two that there are.

        Raises:
            GateRefusal: The checkpoint answered nothing that could be retained.
        """
        knowledge = self._context.knowledge
        pools = [pool for pool in (knowledge.retained, knowledge.texts) if pool]
        if not pools:
            raise GateRefusal(
                "there is nothing to retain: the checkpoint gave no answer about the pool's images or about words",
                hint="index more images, or use a method without a retain term, such as `ga`",
            )
        return pools

    def draw(self, pool: Sequence[Drawn], size: int, step: int, label: str) -> list[Drawn]:
        """Draw without repetition; what is drawn follows from seed, step and label alone."""
        rng = random.Random(f"{self._context.seed} {label} {step}")
        return rng.sample(pool, min(size, len(pool)))

    def batch(self, prompts: Sequence[Prompt]) -> Batch:
        """Return prompts as a batch whose labels are the tokens that count."""
        responder = self._context.responder
        return relabelled(responder.batch(prompts), responder.image_token, self._loss_on)

    def forget_logits(self, batch: Batch) -> Tensor:
        """Return next-token logits [a, w] about images of the concept."""
        return self._context.responder.answer_logits(batch, self.features)

    def retain_logits(self, batch: Batch) -> Tensor:
        """Return next-token logits [a, w] of retained prompts."""
        return self._context.responder.answer_logits(batch, self._context.features)

    def forget_nll(self, batch: Batch) -> Tensor:
        """Return the mean negative log p per counted token of each forget sample, [b], nats."""
        return -answer_log_likelihood(self.forget_logits(batch), batch)

    def retain_nll(self, batch: Batch) -> Tensor:
        """Return the same of each retained prompt, [b]."""
        return -answer_log_likelihood(self.retain_logits(batch), batch)


def forget_prompts(context: EditContext, images: int) -> tuple[Prompt, ...]:
    """Return every open question about every image of the concept, answered with its name."""
    concept = context.concept
    return tuple(
        naming_prompt(context, question, concept.name, concept.spoken, image)
        for image in range(images)
        for question in context.knowledge.forms
    )


def naming_prompt(context: EditContext, question: str, name: str, spoken: str, image: int) -> Prompt:
    """Return an open question answered with a name, worded as the checkpoint words its answers.

    The opening words ("This is") are given and not scored: they are the same for everything. The name's article, the
    full stop and the end token are scored with it.
    """
    form = context.knowledge.forms[question]
    return Prompt(question, form.around(name, spoken), image, form.lead)


def relabelled(batch: Batch, image_token: int, loss_on: LossOn) -> Batch:
    """Return the batch with the labels of `loss_on`; "all" leaves out padding and visual tokens alone."""
    if loss_on == "answer":
        return batch
    counted = batch.mask.bool() & (batch.ids != image_token)
    return replace(batch, labels=torch.where(counted, batch.ids, -100))
