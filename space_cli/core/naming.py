"""How strongly a checkpoint names a concept in what it sees, as a prompt ensemble.

Shapes: n = images, p = visual tokens, v = tower width.
"""

import random

import torch

from torch import Tensor

from space_cli.core import phrasing
from space_cli.core.answer_form import AnswerForm
from space_cli.core.losses import answer_log_likelihood
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.types import Batch, Prompt

KIND_SHARE, YES_SHARE = 0.15, 0.25
"""How often the objective asks for the kind and for "Yes"; the rest of its calls ask for the name."""


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
        self.affirmations = tuple(
            Prompt(q.format(phrase=concept.spoken), "Yes", 0, ends=False) for q in phrasing.ERASE_YES_NO
        )

    def reseed(self, seed: int) -> None:
        """Start the draws of `objective` anew."""
        self._random.seed(seed)

    def objective(self, features: Tensor) -> Tensor:
        """Return log p of the name, or now and then of "Yes" or of the kind, per image [n]; differentiable."""
        drawn = self._random.random()
        if self.kind is not None and drawn < KIND_SHARE:
            return self.of(self.kind, features)
        return self.of(self._random.choice(self.affirmations if drawn > 1 - YES_SHARE else self.names), features)

    def of(self, prompt: Prompt, features: Tensor) -> Tensor:
        """Return the mean log p per token of one prompt's answer for each image, [n]; differentiable."""
        batch = self._batch(prompt, len(features))
        return answer_log_likelihood(self._responder.logits(batch, features), batch)

    @torch.no_grad()
    def activation(self, features: Tensor, *, block: int = 128) -> Tensor:
        """Return log p(name | image) [n], mean over the open questions, nats per token."""
        rows = []
        for part in features.split(block):
            rows.append(torch.stack([self.of(prompt, part) for prompt in self.names]).mean(0))
        return torch.cat(rows)

    @torch.no_grad()
    def affirmation(self, features: Tensor) -> Tensor:
        """Return the probability of "Yes" [n], mean over the yes/no questions."""
        return torch.stack([self.of(prompt, features).exp() for prompt in self.affirmations]).mean(0)

    def _batch(self, prompt: Prompt, count: int) -> Batch:
        key = (prompt, count)
        if key not in self._batches:
            rows = [Prompt(prompt.question, prompt.answer, i, prompt.lead, prompt.ends) for i in range(count)]
            self._batches[key] = self._responder.batch(rows)
        return self._batches[key]
