"""How strongly a checkpoint names a concept in what it sees, as a prompt ensemble.

Shapes: n = images, p = visual tokens, v = tower width.
"""

import random

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from space_cli.core import phrasing
from space_cli.core.answer_form import AnswerForm
from space_cli.core.losses import answer_log_likelihood, answer_mask, first_token
from space_cli.core.memory import rows_at_once
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept, article_before, indefinite_article, spoken_form
from space_cli.core.types import Batch, Prompt

KIND_SHARE, YES_SHARE, DETOUR_SHARE = 0.15, 0.25, 0.2
"""How often the objective asks for the kind, for "Yes" and for the name after unusual words; else for the name."""
WORDINGS_AN_IMAGE = 4
"""Wordings that each image is asked about where the mean is wanted."""
TOGETHER = 32
"""Prompts in one pass without a gradient; of LLaVA-1.5-7B they keep 0.3 GB each of keys and values."""


class Naming:
    """The concept's name as the answer to each open question, and "Yes" to each yes/no question.

    Args:
        responder: Whatever edits are hooked into it take part.
        concept: Its name and phrase.
        forms: The checkpoint's wording by open question.
        seed: Draws the question of each call.
        kind: The concept's kind as an answer; part of the objective where it is known, so that a push towards the name
            does not end in another kind of thing.
    """

    def __init__(
        self,
        responder: Responder,
        concept: Concept,
        forms: dict[str, AnswerForm],
        seed: int,
        *,
        kind: Prompt | None = None,
    ) -> None:
        self.kind = kind
        self._responder = responder
        self._random = random.Random(seed)
        self._batches: dict[tuple[Prompt, int], Batch] = {}
        self.names = tuple(
            Prompt(
                q,
                form.around(concept.name, concept.spoken).removesuffix(form.close),
                0,
                form.lead,
                ends=False,
            )
            for q, form in forms.items()
        )
        self.detours = _detours(concept, forms)
        aliases = (one for alias in concept.aliases for one in _usual(alias, spoken_form(alias), forms))
        self.usual = _usual(concept.name, concept.spoken, forms)
        self.wordings = (*self.usual, *self.detours, *aliases)
        self.stutters = _stutters(concept, forms)
        self.affirmations = tuple(
            Prompt(q.format(phrase=concept.spoken), "Yes", 0, ends=False) for q in phrasing.ERASE_YES_NO
        )

    def reseed(self, seed: int) -> None:
        """Start the draws of `objective` anew."""
        self._random.seed(seed)

    def objective(self, features: Tensor) -> Tensor:
        """Return log p of the name, or now and then of "Yes" or of the kind, per image [n]; differentiable.

        Images whose activations would not fit together are computed again in the backward pass, part by part; whatever
        edits the model must still be in place then.
        """
        prompt = self._drawn()
        parts = features.split(rows_at_once(self._responder.model, features.shape[1]))
        if len(parts) == 1 or not features.requires_grad:
            return torch.cat([self.of(prompt, part) for part in parts])
        again: Any = checkpoint  # torch does not say what it returns
        return torch.cat([again(self.of, prompt, part, use_reentrant=False) for part in parts])

    def _drawn(self) -> Prompt:
        drawn = self._random.random()
        if self.kind is not None and drawn < KIND_SHARE:
            return self.kind
        if drawn > 1 - YES_SHARE:
            return self._random.choice(self.affirmations)
        return self._random.choice(self.detours if drawn > 1 - YES_SHARE - DETOUR_SHARE else self.names)

    def of(self, prompt: Prompt, features: Tensor) -> Tensor:
        """Return the mean log p per token of one prompt's answer for each image, [n]; differentiable."""
        batch = self._batch(prompt, len(features))
        return answer_log_likelihood(self._responder.answer_logits(batch, features), batch)

    def told(self, prompts: Sequence[Prompt], features: Tensor, *, first: bool = False) -> Tensor:
        """Return the mean log p per token of each prompt's answer, [q]; those about one image had best stand together.

        Args:
            prompts: q of them, about rows of the features.
            features: [n, p, v].
            first: Score the first token of each answer alone.
        """
        found = []
        for start in range(0, len(prompts), TOGETHER):
            batch = self._responder.batch(prompts[start : start + TOGETHER])
            found.append(self._responder.log_likelihood(first_token(batch) if first else batch, features))
        return torch.cat(found)

    def activation(self, features: Tensor) -> Tensor:
        """Return log p(name | image) [n], mean over the open questions, nats per token."""
        return self._of_all(self.names, features).mean(1)

    def bare(self, features: Tensor) -> Tensor:
        """Return log p of the name after its article [n], mean over the open questions, nats per token.

        An article is told of anything, and more surely than a name: where it is scored as well, a name that has one
        seems likelier than one that has none.
        """
        return self._of_all(self.usual, features).mean(1)

    def whole(self, features: Tensor) -> Tensor:
        """Return log p of all tokens of the name together [n], mean over the open questions, nats."""
        tokens = answer_mask(self._responder.batch(self.names)).sum(-1)
        return (self._of_all(self.names, features) * tokens.to(features.device)).mean(1)

    def begun(self, features: Tensor) -> Tensor:
        """Return log p of the name's first token [n], mean over some wordings; together, images get all."""
        turns = [self.beginnings(len(features), turn) for turn in range(WORDINGS_AN_IMAGE)]
        asked = [prompts[row] for row in range(len(features)) for prompts in turns]
        return self.told(asked, features, first=True).reshape(len(features), len(turns)).mean(1)

    def affirmation(self, features: Tensor) -> Tensor:
        """Return the probability of "Yes" [n], mean over the yes/no questions."""
        return self._of_all(self.affirmations, features).exp().mean(1)

    def _of_all(self, prompts: Sequence[Prompt], features: Tensor) -> Tensor:
        asked = [replace(prompt, image=row) for row in range(len(features)) for prompt in prompts]
        return self.told(asked, features).reshape(len(features), len(prompts))

    def beginnings(self, count: int, turn: int) -> list[Prompt]:
        """Return the name in some wording for each of `count` images; every image gets the next.

        Aliases are among the wordings: what is gone under one name may be told under another. Of each the first token
        alone counts: the mean over a longer name is low where one of its tokens is, and a decoder that says "this is a
        top" of a top hat has kept the name's beginning and, with it, what the name stands for.
        """
        return [replace(self.wordings[(turn * count + row) % len(self.wordings)], image=row) for row in range(count)]

    def _batch(self, prompt: Prompt, count: int) -> Batch:
        key = (prompt, count)
        if key not in self._batches:
            rows = [Prompt(prompt.question, prompt.answer, i, prompt.lead, prompt.ends) for i in range(count)]
            self._batches[key] = self._responder.batch(rows)
        return self._batches[key]


def _usual(name: str, spoken: str, forms: dict[str, AnswerForm]) -> tuple[Prompt, ...]:
    """Return the bare name after the checkpoint's own words before it."""
    article = article_before(name, spoken)
    leads = ((question, f"{form.lead} {article if form.article else ''}".strip()) for question, form in forms.items())
    return tuple(Prompt(question, name, 0, lead, ends=False) for question, lead in leads)


def _stutters(concept: Concept, forms: dict[str, AnswerForm]) -> tuple[Prompt, ...]:
    """Return the word before the name as the answer in the name's place, for each wording that has one.

    A decoder whose name is taken away may repeat that word instead, "this is a a a a", and at last say the name.
    """
    before = ((one.question, one.lead) for one in _usual(concept.name, concept.spoken, forms))
    return tuple(Prompt(question, lead.split()[-1], 0, lead, ends=False) for question, lead in before if lead)


def _detours(concept: Concept, forms: dict[str, AnswerForm]) -> tuple[Prompt, ...]:
    """Return the name after other words than the checkpoint's own before it.

    What is suppressed as it is usually worded comes back otherwise: "this is a jeans", "it is jeans". Each open
    question gets the name with every article, after its own opening and after another one.
    """
    indefinite = indefinite_article(concept.name)
    usual = article_before(concept.name, concept.spoken)
    found = []
    for row, (question, form) in enumerate(forms.items()):
        own = usual if form.article else ""
        for turn, article in enumerate(dict.fromkeys((usual, indefinite, "the", ""))):
            opening = phrasing.OPENINGS[(row + turn) % len(phrasing.OPENINGS)]
            leads = (opening, form.lead) if article != own else (opening,)
            found += [Prompt(question, concept.name, 0, f"{lead} {article}".strip(), ends=False) for lead in leads]
    return tuple(found)
