"""A responder that asks each question once: several metrics put the same questions to the same images."""

from collections.abc import Mapping, Sequence

import torch

from PIL.Image import Image
from torch import Tensor, nn

from space_cli.core.protocols import ANSWER_TOKENS, Responder
from space_cli.core.types import Batch, Prompt, Rows

BATCH = 32
"""Questions asked at once; about 640 tokens each in LLaVA-1.5, so this bounds the memory of a 7B answer."""
FEATURE_BYTES = 512 * 1024 * 1024
"""What remembered features may take: about 430 images of LLaVA-1.5 in half precision. Others are looked at again."""


class Looks:
    """What one tower makes of images; responders with the same tower may share it.

    Args:
        room: Bytes that features may take. Images beyond that are looked at again each time.
    """

    def __init__(self, room: int = FEATURE_BYTES) -> None:
        self._room = room
        self._features: dict[int, Tensor] = {}  # [p, v] by the image's id
        # An id names an image only while the image lives, so each one asked about is kept.
        self._kept: dict[int, Image] = {}

    def of(self, responder: Responder, images: Mapping[int, Image]) -> Tensor:
        """Return the features of images, [n, p, v], looking only at those that are not remembered.

        Args:
            responder: Has the tower.
            images: By id.
        """
        self._kept.update(images)
        new = [key for key in images if key not in self._features]
        found = dict(zip(new, responder.features([images[key] for key in new]), strict=True)) if new else {}
        chosen = torch.stack([found[key] if key in found else self._features[key] for key in images])
        for key, feature in found.items():
            size = feature.numel() * feature.element_size()
            if size <= self._room:
                # A copy, or the whole block would stay in memory for each of its rows.
                self._features[key] = feature.clone()
                self._room -= size
        return chosen


class Remembering:
    """A `Responder` with a memory of its greedy answers.

    Args:
        responder: The checkpoint that answers.
        looks: A memory of features, of its own unless one is given.
    """

    def __init__(self, responder: Responder, looks: Looks | None = None) -> None:
        self.responder = responder
        self.model: nn.Module = responder.model
        self.model_type = responder.model_type
        self.image_token = responder.image_token
        self._answers: dict[tuple[int | None, str, int], str] = {}
        # The memory keeps each image that was asked about, and so its id.
        self._looks = looks or Looks()

    def features(self, images: Sequence[Image]) -> Tensor:
        """Return the features of images, [n, p, v]."""
        return self.responder.features(images)

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Return images in the tower's size, [n, 3, s, s] from 0 to 1."""
        return self.responder.pixels(images)

    def look(self, pixels: Tensor) -> Tensor:
        """Return the features of such pixels, [n, p, v]."""
        return self.responder.look(pixels)

    def batch(self, prompts: Sequence[Prompt]) -> Batch:
        """Return prompts as padded token ids with the answers as labels."""
        return self.responder.batch(prompts)

    def answer_logits(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return next-token logits [a, w] where an answer's token follows."""
        return self.responder.answer_logits(batch, features)

    def hidden(self, batch: Batch, features: Tensor | None, layer: int) -> Tensor:
        """Return the decoder's hidden states [b, t, h] after `layer` blocks."""
        return self.responder.hidden(batch, features, layer)

    def answer_features(
        self,
        features: Tensor | None,
        questions: Sequence[str],
        *,
        about: Rows = None,
        tokens: int = ANSWER_TOKENS,
        lead: str = "",
    ) -> list[str]:
        """Answer greedily from visual features; not remembered, as no attack sends the same ones twice."""
        return self.responder.answer_features(features, questions, about=about, tokens=tokens, lead=lead)

    def read(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return the decoder's last states at every token of every prompt, [b, t, h]."""
        return self.responder.read(batch, features)

    def log_likelihood(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return the mean log p per answer token of each prompt, [b], nats."""
        return self.responder.log_likelihood(batch, features)

    def answer(
        self, images: Sequence[Image] | None, questions: Sequence[str], *, tokens: int = ANSWER_TOKENS
    ) -> list[str]:
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
        # Every metric asks about the same images, and each image needs the tower once.
        distinct = {id(images[row]): images[row] for row, _ in asked}
        features = self._looks.of(self.responder, distinct)
        places = {key: place for place, key in enumerate(distinct)}
        about = [places[id(images[row])] for row, _ in asked]
        return self.responder.answer_features(features, questions, about=about, tokens=tokens)
