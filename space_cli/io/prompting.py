"""Prompts as token ids, in a checkpoint's own chat template.

Shapes: b = prompts, t = tokens, p = visual tokens.
"""

import json

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from space_cli.core.errors import ArtifactFault
from space_cli.core.family import Family
from space_cli.core.instruction import template_of
from space_cli.core.types import Batch, Prompt
from space_cli.io.rendering import UnrenderableError, frames
from space_cli.io.shared_prefix import opening_length
from space_cli.io.storage import read_small

WORDINGS_KEPT = 16_384
"""Prompts whose token ids are remembered: each step of training asks the same ones about other images."""

PROCESSOR_FILES = ("processor_config.json", "chat_template.json")
"""Where transformers looks for a processor's template before that of the tokenizer, the first one first."""


def template_of_processor(folder: Path) -> str | None:
    """Return the chat template that a checkpoint's files hold for its processor alone, or None.

    A tokenizer does not read them, and what it reads may be the template of the language model, which shows no image.

    Raises:
        ArtifactFault: A file is larger than any of these is.
        OSError: A file may not be read.
        ValueError: A file is no text, or its template no string.
    """
    files = (folder / name for name in PROCESSOR_FILES)
    found = (template_of(file.name, read_small(file).decode("utf-8")) for file in files if file.is_file())
    return next((template for template in found if template), None)


class Prompting:
    """What turns prompts into batches.

    Args:
        tokenizer: With the chat template.
        family: Its placeholder stands once for each visual token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, family: Family) -> None:
        self._tokenizer = tokenizer
        self._family = family
        self._told = json.dumps(tokenizer.special_tokens_map, sort_keys=True, default=str)
        self._worded = lru_cache(WORDINGS_KEPT)(self._tokenized)

    @property
    def pad(self) -> int:
        """Return the id that fills up rows."""
        pad = self._tokenizer.pad_token_id
        return int(self._tokenizer.eos_token_id if pad is None else pad)

    def check(self, folder: Path) -> None:
        """Refuse a chat template that does not show an image once, where an answer would be about nothing.

        Args:
            folder: Of the checkpoint, for the message.

        Raises:
            ArtifactFault: It shows none or several, leaves out the question, or cannot be rendered.
        """
        hint = "take the `chat_template.jinja` of the checkpoint as it was published"
        asked = {None: 0, 0: self._family.visual_tokens}
        try:
            shown = {image: self.ids(Prompt("What is this?", "", image))[0] for image in asked}
        except (UnrenderableError, ValueError) as failure:
            raise ArtifactFault(f"the chat template of `{folder}` cannot be rendered: {failure}", hint=hint) from None
        for image, count in asked.items():
            found = shown[image].count(self._family.image_token)
            if found != count:
                raise ArtifactFault(
                    f"the chat template of `{folder}` shows {found} visual tokens where {count} are needed", hint=hint
                )

    def text(self, question: str, *, image: bool) -> str:
        """Return a question in the chat template, ready for its answer."""
        before, after = frames(self._tokenizer.get_chat_template(), self._told)[image]
        return f"{before}{question}{after}"

    def ids(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """Return the token ids of a prompt and of its answer, with the end token if it ends."""
        # Which image a prompt is about changes none of them.
        ids, answer = self._worded(prompt if prompt.image is None else replace(prompt, image=0))
        return list(ids), list(answer)

    def _tokenized(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        asked = self.text(prompt.question, image=prompt.image is not None)
        if prompt.lead:
            asked = _followed(asked, prompt.lead)
        ids = self._encode(asked)
        answer: list[int] = []
        if prompt.answer:
            whole = self._encode(_followed(asked, prompt.answer))
            parting = (row for row, (one, other) in enumerate(zip(ids, whole, strict=False)) if one != other)
            shared = next(parting, min(len(ids), len(whole)))
            # A space that is a token of its own, as before a script without words of its own in the vocabulary, says
            # nothing of the answer; its first token must be the beginning of a name.
            while shared + 1 < len(whole) and not self._tokenizer.decode(whole[shared]).strip():
                shared += 1
            end = [self._tokenizer.eos_token_id] if prompt.ends else []
            ids, answer = whole[:shared], [*whole[shared:], *end]
        return self._with_image(ids), answer

    def answered(self, prompts: Sequence[Prompt]) -> Batch:
        """Return prompts as ids padded at their ends, with the answers as labels."""
        pairs = [self.ids(prompt) for prompt in prompts]
        longest = max(len(ids) + len(answer) for ids, answer in pairs)
        ids, mask, labels = self._empty(len(pairs), longest)
        for row, (asked, answer) in enumerate(pairs):
            end = len(asked) + len(answer)
            ids[row, :end] = torch.tensor(asked + answer)
            mask[row, :end] = 1
            labels[row, len(asked) : end] = torch.tensor(answer, dtype=labels.dtype)
        return Batch(ids, mask, labels, _images(prompts))

    def asked(self, prompts: Sequence[Prompt]) -> Batch:
        """Return prompts without answers, ending together; what pads them stands between image and question."""
        rows = [self.ids(prompt)[0] for prompt in prompts]
        longest = max(len(row) for row in rows)
        ids, mask, labels = self._empty(len(rows), longest)
        for row, asked in enumerate(rows):
            opens = opening_length(asked, self._family.image_token)
            rest = longest - len(asked) + opens
            ids[row, :opens], ids[row, rest:] = torch.tensor(asked[:opens]), torch.tensor(asked[opens:])
            mask[row, :opens] = mask[row, rest:] = 1
        return Batch(ids, mask, labels, _images(prompts))

    def _empty(self, rows: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
        ids = torch.full((rows, length), self.pad)
        return ids, torch.zeros_like(ids), torch.full_like(ids, -100)

    def _encode(self, text: str) -> list[int]:
        opens = self._tokenizer.bos_token and text.startswith(self._tokenizer.bos_token)
        return list(self._tokenizer(text, add_special_tokens=not opens)["input_ids"])

    def _with_image(self, ids: list[int]) -> list[int]:
        token, count = self._family.image_token, self._family.visual_tokens
        return [piece for one in ids for piece in ([one] * count if one == token else [one])]


def _followed(asked: str, words: str) -> str:
    """Return a prompt with the words that its answer begins with.

    They follow after a space, which belongs to the answer's first token, or at the start of a line where the template
    breaks it: a space in its place is none of the model's own answers.
    """
    opened = asked.rstrip(" ")
    return f"{opened}{words}" if opened.endswith("\n") else f"{opened} {words}"


def _images(prompts: Sequence[Prompt]) -> Tensor | None:
    kinds = {prompt.image is None for prompt in prompts}
    assert len(kinds) == 1, "a batch is about images or about text, not both"
    return None if True in kinds else torch.tensor([prompt.image for prompt in prompts])
