"""A responder whose answers are stated in the test, and an audit made of it."""

import zlib

from collections.abc import Callable, Sequence

import torch

from PIL import Image
from torch import Tensor, nn

from space_cli.core.losses import answer_mask
from space_cli.core.types import Batch, ErasedBefore, Probe, ProbeImage, Prompt, Rows

NAMES = ("panda", "bear", "koala", "bus", "car", "rose", "tulip", "piano")
WORDS = 97  # vocabulary; 0 pads, 1 ends


def picture(name: str, view: int = 0) -> Image.Image:
    """Paint an image that the fake recognises: its red channel says what it shows."""
    return Image.new("RGB", (12, 12), ((NAMES.index(name) + 1) * 20, view % 256, 40))


def shown(name: str, count: int) -> list[ProbeImage]:
    return [ProbeImage(picture(name, view), name, f"{name}/{view:02d}.png") for view in range(count)]


class Table:
    """A `Responder` that says what a function says.

    Args:
        say: (what the image shows or None, question) -> answer.
        likely: (what the image shows, candidate) -> mean log p.
        shift: How far its next-token distributions are from those of `shift=0`.
    """

    model_type = "fake"
    image_token = 96

    def __init__(
        self,
        say: Callable[[str | None, str], str],
        likely: Callable[[str | None, str], float] = lambda name, candidate: 0.0,
        shift: float = 0.0,
    ) -> None:
        self.model = nn.Identity()
        self.say, self.likely, self.shift = say, likely, shift
        self.asked = 0
        self._spoken: dict[int, str] = {}
        generator = torch.Generator().manual_seed(7)
        self._base, self._other = torch.randn(2, WORDS, WORDS, generator=generator).unbind()

    def upstream(self, *scopes: str) -> "Table":
        return self

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.tensor([[[float(image.getpixel((0, 0))[0])]] for image in images])

    def batch(self, prompts: Sequence[Prompt]) -> Batch:
        asked = [self._ids(f"{prompt.question} {prompt.lead}") for prompt in prompts]
        answers = [self._ids(prompt.answer) + ([1] if prompt.ends else []) for prompt in prompts]
        width = max(len(one) + len(other) for one, other in zip(asked, answers, strict=True))
        ids, labels = (
            torch.zeros(len(prompts), width, dtype=torch.int64),
            torch.full((len(prompts), width), -100),
        )
        for row, (one, other) in enumerate(zip(asked, answers, strict=True)):
            ids[row, : len(one) + len(other)] = torch.tensor(one + other)
            labels[row, len(one) : len(one) + len(other)] = torch.tensor(other)
        rows = None if prompts[0].image is None else torch.tensor([prompt.image for prompt in prompts])
        self._spoken.update({hash(tuple(other)): p.answer for other, p in zip(answers, prompts, strict=True)})
        return Batch(ids, (ids > 0).long(), labels, rows)

    def logits(self, batch: Batch, features: Tensor | None) -> Tensor:
        return (self._base + self.shift * self._other)[batch.ids]

    def answer_logits(self, batch: Batch, features: Tensor | None) -> Tensor:
        return self.logits(batch, features)[answer_mask(batch)]

    def hidden(self, batch: Batch, features: Tensor | None, layer: int) -> Tensor:
        return self.logits(batch, features)

    def answer(self, images: Sequence[Image.Image] | None, questions: Sequence[str], *, tokens: int = 24) -> list[str]:
        return self.answer_features(None if images is None else self.features(images), questions, tokens=tokens)

    def read(self, batch: Batch, features: Tensor | None) -> Tensor:
        return self.logits(batch, features)

    def answer_features(
        self, features: Tensor | None, questions: Sequence[str], *, about: Rows = None, tokens: int = 24, lead: str = ""
    ) -> list[str]:
        self.asked += len(questions)
        shown = None if features is None else features if about is None else features[list(about)]
        names = [None] * len(questions) if shown is None else [_name(row.item()) for row in shown[:, 0, 0]]
        return [self.say(name, question) for name, question in zip(names, questions, strict=True)]

    def log_likelihood(self, batch: Batch, features: Tensor | None) -> Tensor:
        values = []
        for row, labels in enumerate(batch.labels):
            phrase = self._spoken[hash(tuple(labels[labels != -100].tolist()))]
            name = None if features is None else _name(features[batch.images[row], 0, 0].item())
            values.append(self.likely(name, phrase))
        return torch.tensor(values)

    def _ids(self, text: str) -> list[int]:
        return [2 + zlib.crc32(word.encode()) % (WORDS - 3) for word in text.split()]


def knowing(*forgotten: str) -> Callable[[str | None, str], str]:
    """Answer like a checkpoint that knows every name but the forgotten ones, and what words say of all."""

    def say(name: str | None, question: str) -> str:
        if name is None:
            return "In the wild." if question.startswith("Where") else "It is an animal."
        if "kind" in question:
            return "This is an animal."
        if "see a" in question or "shown in this" in question:
            return "Yes." if f" {name} " in question and name not in forgotten else "No."
        return "This is something." if name in forgotten else f"This is a {name}."

    return say


def ranking(*forgotten: str) -> Callable[[str | None, str], float]:
    """Rank the right name first, but for the forgotten ones."""
    return lambda name, phrase: -1.0 if phrase == f"a {name}" and name not in forgotten else -5.0


def probe(forget: int = 12, retain: int = 3) -> Probe:
    others = NAMES[1:]
    return Probe(
        name="panda",
        phrase="a panda",
        aliases=("panda", "giant panda"),
        kind="animal",
        forget=shown("panda", forget),
        retain=[one for name in others for one in shown(name, retain)],
        neighbours=("bear", "koala"),
        names=others,
        phrases={name: f"a {name}" for name in others},
        facts=(("What kind of thing is a panda?", "animal"), ("Where would you find a panda?", "")),
        used=[picture("panda", view) for view in range(90, 93)],
        general=[picture("rose", view) for view in range(4)],
        earlier=[
            ErasedBefore("tulip", ("tulip",), shown("tulip", 4)),
            ErasedBefore("bus", ("bus", "coach"), shown("bus", 2)),
        ],
        seed=3,
    )


def _name(red: float) -> str:
    return NAMES[round(red / 20) - 1]
