"""The terms that ask about a step's anchors: everything about one anchor is asked in one pass, which sees it once.

Shapes: n = anchors, b = those of a step, p = visual tokens, v = tower width.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain, pairwise

import torch

from torch import Tensor

from space_cli.core import phrasing
from space_cli.core.context import EditContext, Factors
from space_cli.core.isolation import name_loss, own_prompts
from space_cli.core.losses import answer_mask, split, token_kl, token_log_likelihood
from space_cli.core.memory import rows_at_once
from space_cli.core.naming import Naming
from space_cli.core.protocols import Responder
from space_cli.core.types import Prompt

PRESSED = ("name", "begin", "stutter", "deny")
"""Terms whose answers anchors must not be given."""


class AnchorTerms:
    """What is asked about anchors, and what the answers cost.

    `task` is that of `isolation.task_loss`, the cross-entropy of each proxy's own answer. `name`, `begin`, `stutter`
    and `deny` press down the name, its first token in other wordings, the word before it in its place, and "Yes" to the
    questions for it. `attribute` and `kind` keep what questions that do not ask for the name are answered with: the
    kind is what the unedited checkpoint says the concept's word means, so that a picture whose name is lost is still
    known for the kind of thing it is; every other answer is the unedited checkpoint's own about each anchor.

    Args:
        context: The erasure.
        naming: The concept's prompts.
        features: The hardened anchors, [n, p, v]: asked in their place, what goes with the name is kept.
        weights: λ of each term.
        beta: Sharpness of the preference against what is pressed down, per nat.
    """

    def __init__(
        self, context: EditContext, naming: Naming, features: Tensor, weights: Mapping[str, float], beta: float
    ) -> None:
        self._context = context
        self._naming = naming
        self._weights = weights
        self._beta = beta
        self._kind = context.knowledge.kind
        self._answers = {
            question: context.responder.answer_features(features, [question] * len(features))
            for question in phrasing.IDENTITY_FREE
            if self._kind is None or question != self._kind.question
        }

    def of(self, features: Tensor, rows: Sequence[int], factors: Factors, step: int) -> Iterator[dict[str, Tensor]]:
        """Yield groups of terms that sum to those of the step, as many anchors a group as fit.

        Args:
            features: Of the step's anchors, [b, p, v].
            rows: Which anchors they are.
            factors: The change.
            step: Its turn decides which question and wording each is asked in.
        """
        asked = self._asked(rows, step)
        questions = sum(len(some[0]) for some in asked.values())  # of one anchor; every one has as many
        together = rows_at_once(self._context.responder.model, features.shape[1], questions)
        parts = [
            _Part(self._context.responder, {term: some[start : start + together] for term, some in asked.items()})
            for start in range(0, len(rows), together)
        ]
        whole = {term: sum(part.size(term) for part in parts) for term in asked}
        for part in parts:
            with self._context.edited(factors):
                logits = self._context.responder.answer_logits(part.batch, features)
            costs = self._costs(part, logits, features)
            yield {term: self._weights[term] * cost * (part.size(term) / whole[term]) for term, cost in costs}

    def _costs(self, part: "_Part", logits: Tensor, features: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the mean cost of each term's answers: over prompts of what is pressed down, over tokens of the rest."""
        told = split(token_log_likelihood(logits, part.batch), part.batch)
        for term, prompts in part.prompts.items():
            if not part.size(term):  # a mean over no token is no number, whatever it is weighted by
                continue
            own = told[part.spans[term]]
            if term in PRESSED:
                yield term, name_loss([tokens[:1] for tokens in own] if term == "begin" else own, self._beta)
            elif term == "attribute":
                with torch.no_grad():
                    before = self._context.responder.answer_logits(self._context.responder.batch(prompts), features)
                after = torch.cat(split(logits, part.batch)[part.spans[term]])
                yield term, token_kl(before, after).mean()
            else:
                yield term, -torch.cat(own).mean()

    def _asked(self, rows: Sequence[int], step: int) -> dict[str, list[list[Prompt]]]:
        """Return what each term asks about each anchor; no term without a prompt."""
        count, naming = len(rows), self._naming
        asked = {
            "task": [[one] for one in own_prompts(self._context, rows)],
            "name": [[naming.wordings[step % len(naming.wordings)]]] * count,
            "begin": [[one] for one in naming.beginnings(count, step)],
            "stutter": [[naming.stutters[step % len(naming.stutters)]] if naming.stutters else []] * count,
            "deny": [[naming.affirmations[step % len(naming.affirmations)]]] * count,
            "kind": [[self._kind] if self._kind else []] * count,
            "attribute": [[Prompt(q, told[row] or ".") for q, told in self._answers.items()] for row in rows],
        }
        return {
            term: [[replace(prompt, image=row) for prompt in some] for row, some in enumerate(prompts)]
            for term, prompts in asked.items()
            if any(prompts)
        }


class _Part:
    """Some of a step's anchors, and all that is asked about them.

    Args:
        responder: Makes a batch of it.
        asked: The prompts of each term about each of these anchors.
    """

    def __init__(self, responder: Responder, asked: Mapping[str, Sequence[Sequence[Prompt]]]) -> None:
        self.prompts = {term: list(chain.from_iterable(some)) for term, some in asked.items()}
        self.batch = responder.batch(list(chain.from_iterable(self.prompts.values())))
        ends = list(accumulate(map(len, self.prompts.values()), initial=0))
        self.spans = {term: slice(*span) for term, span in zip(self.prompts, pairwise(ends), strict=True)}
        self._tokens: list[int] = answer_mask(self.batch).sum(-1).tolist()

    def size(self, term: str) -> int:
        """Return over how many prompts, or over how many tokens, the mean cost of a term is taken."""
        return len(self.prompts[term]) if term in PRESSED else sum(self._tokens[self.spans[term]])
