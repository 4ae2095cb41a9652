"""What a plug-in may ask for: the narrow faces of the encoder, the model and the terminal."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from PIL.Image import Image
from torch import Tensor, nn

from space_cli.core.types import Batch, Prompt, Rows

ANSWER_TOKENS = 64
"""The longest answer, unless said otherwise: who describes a picture at length names what is in it late."""


class Encoder(Protocol):
    """Embeds images and texts into one space.

    Shapes: n = items, d = embedding width.
    """

    width: int  # d
    side: int  # pixels of the square input; decoding need not keep more

    def preprocess(self, image: Image) -> Tensor:
        """Return one image as pixels [3, side, side] float32; called in decode workers."""
        ...

    def images(self, pixels: Tensor) -> Tensor:
        """Return unit embeddings [n, d] float32 of pixels [n, 3, side, side]."""
        ...

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings [n, d] float32."""
        ...


class Responder(Protocol):
    """A checkpoint that answers questions about images.

    Shapes: n = images, p = visual tokens an image, v = tower width, b = prompts, t = tokens, w = vocabulary.
    """

    model: nn.Module
    model_type: str
    image_token: int  # id of the placeholder that visual tokens replace

    def features(self, images: Sequence[Image]) -> Tensor:
        """Return the features of images, [n, p, v]: the tower's output, or what enters one of its last blocks.

        They lie upstream of every layer that an erasure may change.
        """
        ...

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Return images in the tower's size, [n, 3, s, s] float32 from 0 to 1, not normalised yet."""
        ...

    def look(self, pixels: Tensor) -> Tensor:
        """Return the features of such pixels, [n, p, v]; differentiable, unlike `features`."""
        ...

    def batch(self, prompts: Sequence[Prompt]) -> Batch:
        """Return prompts as padded token ids with the answers as labels."""
        ...

    def answer_logits(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return next-token logits [a, w] where an answer's token follows, prompt after prompt.

        Differentiable in features and in hooked edits.
        """
        ...

    def answer(
        self, images: Sequence[Image] | None, questions: Sequence[str], *, tokens: int = ANSWER_TOKENS
    ) -> list[str]:
        """Answer greedily: one question per image, or text-only questions where `images` is None."""
        ...

    def answer_features(
        self,
        features: Tensor | None,
        questions: Sequence[str],
        *,
        about: Rows = None,
        tokens: int = ANSWER_TOKENS,
        lead: str = "",
    ) -> list[str]:
        """Answer greedily from visual features; text only where `features` is None.

        `about` tells the row of the features that each question is about; without it there is one question a row.
        `lead` opens every answer; what is returned is what comes after it.
        """
        ...

    def read(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return the decoder's last states at every token of every prompt, [b, t, h]; for who watches its layers."""
        ...

    def hidden(self, batch: Batch, features: Tensor | None, layer: int) -> Tensor:
        """Return the decoder's hidden states [b, t, h] after `layer` blocks; differentiable."""
        ...

    def log_likelihood(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return the mean log p per answer token of each prompt, [b], nats; no gradient."""
        ...


class Task(Protocol):
    """One bar of progress."""

    def __call__(self, steps: int = 1, /, **figures: float | str) -> None:
        """Advance by `steps` and show the newest figures."""
        ...


class Progress(Protocol):
    """Where long work reports to."""

    def task(self, label: str, total: int | None = None) -> AbstractContextManager[Task]:
        """Open a bar; it closes with the `with` block."""
        ...

    def note(self, text: str) -> None:
        """Say one line that stays on the screen."""
        ...


class Silent:
    """A `Progress` that shows nothing, for tests and library use."""

    def task(self, label: str, total: int | None = None) -> AbstractContextManager[Task]:
        """Open a bar nobody sees."""
        return _Unseen()

    def note(self, text: str) -> None:
        """Say nothing."""


class _Unseen:
    def __enter__(self) -> "Task":
        return self

    def __exit__(self, *failure: object) -> None:
        return None

    def __call__(self, steps: int = 1, /, **figures: float | str) -> None:
        """Count nothing."""
