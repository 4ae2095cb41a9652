"""A responder that asks each question once: several metrics put the same questions to the same images."""

from collections.abc import Sequence

from PIL.Image import Image
from torch import Tensor, nn

from space_cli.core.protocols import Responder
from space_cli.core.types import Batch, Prompt

BATCH = 32
"""Questions asked at once; about 640 tokens each in LLaVA-1.5, so this bounds the memory of a 7B answer."""


class Remembering:
    """A `Responder` with a memory of its greedy answers.

    Args:
        responder: The checkpoint that answers.
    """

    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self.model: nn.Module = responder.model
        self.model_type = responder.model_type
        self.image_token = responder.image_token
        self._answers: dict[tuple[int | None, str, int], str] = {}
        # An image's id names it only while the image lives, so each one asked about is kept.
        self._kept: dict[int, Image] = {}

    def features(self, images: Sequence[Image]) -> Tensor:
        """Return what the connector reads, [n, p, v]."""
        return self.responder.features(images)

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Return images in the tower's size, [n, 3, s, s] from 0 to 1."""
        return self.responder.pixels(images)

    def look(self, pixels: Tensor) -> Tensor:
        """Return what the connector reads of such pixels, [n, p, v]."""
        return self.responder.look(pixels)

    def batch(self, prompts: Sequence[Prompt]) -> Batch:
        """Return prompts as padded token ids with the answers as labels."""
        return self.responder.batch(prompts)

    def logits(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return next-token logits [b, t, w]."""
        return self.responder.logits(batch, features)

    def hidden(self, batch: Batch, features: Tensor | None, layer: int) -> Tensor:
        """Return the decoder's hidden states [b, t, h] after `layer` blocks."""
        return self.responder.hidden(batch, features, layer)

    def answer_features(
        self, features: Tensor | None, questions: Sequence[str], *, tokens: int = 24, lead: str = ""
    ) -> list[str]:
        """Answer greedily from visual features; not remembered, as no attack sends the same ones twice."""
        return self.responder.answer_features(features, questions, tokens=tokens, lead=lead)

    def log_likelihood(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return the mean log p per answer token of each prompt, [b], nats."""
        return self.responder.log_likelihood(batch, features)

    def answer(self, images: Sequence[Image] | None, questions: Sequence[str], *, tokens: int = 24) -> list[str]:
        """Answer greedily, asking only what was not asked before."""
        keys = [
            (None if images is None else id(images[row]), question, tokens) for row, question in enumerate(questions)
        ]
        new = {key: row for row, key in enumerate(keys) if key not in self._answers}
        rows = list(new.values())
        for start in range(0, len(rows), BATCH):
            asked = rows[start : start + BATCH]
            found = self._ask(images, [(row, questions[row]) for row in asked], tokens)
            self._answers.update({keys[row]: text for row, text in zip(asked, found, strict=True)})
        return [self._answers[key] for key in keys]

    def _ask(self, images: Sequence[Image] | None, asked: Sequence[tuple[int, str]], tokens: int) -> list[str]:
        questions = [question for _, question in asked]
        if images is None:
            return self.responder.answer_features(None, questions, tokens=tokens)
        # Five questions about one image need the tower once.
        distinct = {id(images[row]): images[row] for row, _ in asked}
        self._kept.update(distinct)
        places = {key: place for place, key in enumerate(distinct)}
        features = self.responder.features(list(distinct.values()))
        chosen = features[[places[id(images[row])] for row, _ in asked]]
        return self.responder.answer_features(chosen, questions, tokens=tokens)
