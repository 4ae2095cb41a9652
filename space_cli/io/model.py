"""A checkpoint as something that answers: weights, processor and tokenizer behind one narrow face.

The visual features are handed in from outside, because hardening and erasing start upstream of the language model.
"""

import copy

from collections.abc import Sequence
from pathlib import Path

import torch

from PIL.Image import Image
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    BaseImageProcessor,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils import logging as transformers_logging

from space_cli.core.errors import ArtifactFault
from space_cli.core.family import Family
from space_cli.core.latent import entering, shifting
from space_cli.core.losses import answer_log_likelihood, answer_mask
from space_cli.core.memory import answers_at_once
from space_cli.core.protocols import ANSWER_TOKENS
from space_cli.core.types import Batch, Prompt, Rows
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.devices import pick_device
from space_cli.io.families import family_of
from space_cli.io.fitting import described, refuse_large_pictures, refuse_larger, refuse_missing
from space_cli.io.growing import refuse_growing
from space_cli.io.last_block import read_only_at
from space_cli.io.loading import OWN_FILES, UNLOADABLE, end_tokens, load_fault, refuse_kernels
from space_cli.io.prompting import Prompting, template_of_processor
from space_cli.io.shared_prefix import Opening, common_opening

IMAGE_BATCH = 64
PROMPT_BATCH = 64


def open_model(folder: Path, *, device: str) -> "CheckpointResponder":
    """Load a checkpoint for answering.

    Weights stay in the checkpoint's dtype on a GPU and become float32 on a CPU, where half precision is slow.

    Raises:
        ArtifactFault: Its family is unknown, it lacks weights, its files do not fit together, or its chat template does
            not show an image.
        EnvironmentFault: Memory ran out, or the device is absent.
    """
    family = family_of(folder)
    refuse_kernels(folder)
    refuse_growing(folder)
    refuse_larger(open_checkpoint(folder), lambda: described(folder))
    device = pick_device(device)
    transformers_logging.disable_progress_bar()
    dtype = "auto" if device.startswith("cuda") else torch.float32
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **OWN_FILES
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **OWN_FILES)
        processor = AutoImageProcessor.from_pretrained(folder, **OWN_FILES)
        tokenizer.chat_template = template_of_processor(folder) or tokenizer.chat_template
    except UNLOADABLE as failure:
        raise load_fault(folder, failure) from failure
    refuse_large_pictures(folder, processor.to_dict(), model.config.vision_config.image_size)
    refuse_missing(folder, set(report["missing_keys"]) - set(model.all_tied_weights_keys))
    if not tokenizer.chat_template:
        raise ArtifactFault(f"`{folder}` has no chat template", hint="add its `chat_template.jinja`")
    Prompting(tokenizer, family).check(folder)
    return CheckpointResponder(model.to(device).eval().requires_grad_(False), tokenizer, processor, family)


class CheckpointResponder:
    """A loaded checkpoint.

    Its features of an image are what the connector reads, unless `upstream` says otherwise.

    Shapes: n = images, p = visual tokens, v = tower width, b = prompts, t = tokens, w = vocabulary.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        processor: BaseImageProcessor,
        family: Family,
    ) -> None:
        self.model = model
        self.family = family
        self.model_type = family.model_type
        self.image_token = family.image_token
        self._tokenizer = tokenizer
        self._processor = processor
        self._prompting = Prompting(tokenizer, family)
        self._connector: nn.Module = model.get_submodule(family.connector)
        self._decoder: nn.Module = model.get_submodule(family.language_model)
        self._embedding: nn.Embedding = model.get_input_embeddings()
        self._head: nn.Linear = model.get_output_embeddings()
        self._ends = end_tokens(model, tokenizer)
        # What the weights answer is asked for: no penalty, no words that are never said, no search, no other result.
        model.generation_config = GenerationConfig()
        self._width: int = model.get_submodule(family.connector_layers[0]).in_features
        self._begins: int | None = None

    def upstream(self, *scopes: str) -> "CheckpointResponder":
        """Return the same checkpoint, with features that lie upstream of every layer of these scopes.

        With `vision` among them these are the states that enter the tower's first editable block, its class token's
        too, and all that follows belongs to how a question about them is answered. So hardening, moments, losses and
        attacks reach the tower's layers as they reach all others, and features hold for the erased checkpoint, too.
        """
        found = copy.copy(self)
        found._begins = self.family.begins(*scopes)
        return found

    @property
    def feature_shape(self) -> tuple[int, int]:
        """Return (p, v), the shape of the features of one image."""
        inside = self._begins is not None
        return (self.family.tower_tokens if inside else self.family.visual_tokens), self._width

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return self._head.weight.device

    def preparation(self) -> dict[str, object]:
        """Return how images are prepared for the tower."""
        return dict(self._processor.to_dict())

    # Not inference_mode: hardening takes gradients with respect to these features.
    @torch.no_grad()
    def features(self, images: Sequence[Image]) -> Tensor:
        """Return the features of images, [n, p, v]."""
        blocks = []
        for start in range(0, len(images), IMAGE_BATCH):
            block = list(images[start : start + IMAGE_BATCH])
            pixels = self._processor(images=block, return_tensors="pt")["pixel_values"]
            pixels = pixels.to(self.device, self._head.weight.dtype)
            blocks.append(self._seen(pixels))
        return torch.cat(blocks)

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Return images in the tower's size, [n, 3, s, s] float32 from 0 to 1, not normalised yet."""
        found = self._processor(images=list(images), return_tensors="pt", do_normalize=False)["pixel_values"]
        return torch.as_tensor(found, dtype=torch.float32, device=self.device)

    def look(self, pixels: Tensor) -> Tensor:
        """Return the features of such pixels, [n, p, v]; differentiable, unlike `features`."""
        mean, deviation = (
            pixels.new_tensor(values)[:, None, None]
            for values in (self._processor.image_mean, self._processor.image_std)
        )
        return self._seen(((pixels - mean) / deviation).to(self._head.weight.dtype))

    def batch(self, prompts: Sequence[Prompt]) -> Batch:
        """Return prompts as padded token ids with the answers as labels."""
        return self._placed(self._prompting.answered(prompts))

    def read(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return the decoder's last states at every token of every prompt, [b, t, h]; for who watches its layers."""
        states: Tensor = self._decoded(batch, features).last_hidden_state
        return states

    def answer_logits(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return next-token logits where an answer's token follows, prompt after prompt, [a, w].

        Differentiable in features and in hooked edits. What prompts about one image have in common is read once.
        """
        opening = common_opening(batch, self.image_token)
        start = 0 if opening is None else opening.length
        cache = None if opening is None else self._opened(batch, features, opening)
        places = answer_mask(batch)[:, start:]
        with read_only_at(self._decoder, places):
            if cache is None:
                states = self.read(batch, features)
            else:
                words = self._embedding(batch.ids[:, start:])
                states = self._decoder(inputs_embeds=words, attention_mask=batch.mask, past_key_values=cache)[0]
        logits: Tensor = self._head(states[places])
        return logits

    def hidden(self, batch: Batch, features: Tensor | None, layer: int) -> Tensor:
        """Return the decoder's hidden states [b, t, h] after `layer` blocks; differentiable."""
        with entering(self._decoder, layer) as seen:
            seen.append(self.read(batch, features))
        return seen[0]

    @torch.inference_mode()
    def log_likelihood(self, batch: Batch, features: Tensor | None) -> Tensor:
        """Return the mean log p per answer token of each prompt, [b], nats."""
        return answer_log_likelihood(self.answer_logits(batch, features), batch)

    @torch.inference_mode()
    def answer(
        self, images: Sequence[Image] | None, questions: Sequence[str], *, tokens: int = ANSWER_TOKENS
    ) -> list[str]:
        """Answer greedily: one question per image, or text-only questions where `images` is None."""
        return self.answer_features(self.features(images) if images else None, questions, tokens=tokens)

    @torch.inference_mode()
    def answer_features(
        self,
        features: Tensor | None,
        questions: Sequence[str],
        *,
        about: Rows = None,
        tokens: int = ANSWER_TOKENS,
        lead: str = "",
    ) -> list[str]:
        """Answer greedily from visual features, each answer opened by `lead`.

        Args:
            features: [n, p, v]; None for text only.
            questions: To be answered.
            about: The row of the features that each question is about; one question a row unless given.
            tokens: Longest answer.
            lead: Opening of every answer, which is not returned.
        """
        rows = range(len(questions)) if about is None else about
        asked = [
            Prompt(question, "", None if features is None else row, lead)
            for row, question in zip(rows, questions, strict=True)
        ]
        answers: list[str] = []
        size = min(PROMPT_BATCH, answers_at_once(self.model, 0 if features is None else features.shape[1], tokens))
        for start in range(0, len(asked), size):
            answers += self._generate(asked[start : start + size], features, tokens)
        return answers

    def _generate(self, prompts: Sequence[Prompt], features: Tensor | None, tokens: int) -> list[str]:
        batch = self._placed(self._prompting.asked(prompts))
        opening = common_opening(batch, self.image_token)
        made = self.model.generate(
            # Of what has been read the embeddings are cut off again, so those of the image need not be right.
            inputs_embeds=self._embedded(batch, features) if opening is None else self._words(batch),
            past_key_values=None if opening is None else self._opened(batch, features, opening),
            attention_mask=batch.mask,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=self._prompting.pad,
            eos_token_id=self._ends,
        )
        return [text.strip() for text in self._tokenizer.batch_decode(made, skip_special_tokens=True)]

    def _seen(self, pixels: Tensor) -> Tensor:
        if self._begins is None:
            return self.family.features(self.model, pixels)
        return self.family.lower(self.model, pixels, self._begins)

    def _placed(self, batch: Batch) -> Batch:
        ids, mask, labels = (part.to(self.device) for part in (batch.ids, batch.mask, batch.labels))
        return Batch(ids, mask, labels, None if batch.images is None else batch.images.to(self.device))

    def _decoded(self, batch: Batch, features: Tensor | None, **asked: bool) -> BaseModelOutputWithPast:
        """Run the decoder; what the features carry beside them (`core/latent.py`) is added further on."""
        beside = None
        if features is not None and batch.images is not None:
            # Shifts are of visual tokens; a class token has none.
            beside = features[:, -self.family.visual_tokens :, self._width :][batch.images.to(features.device)]
            features = features[..., : self._width]
        embedded = self._embedded(batch, features)
        with shifting(self._decoder, batch.ids == self.image_token, beside):
            read: BaseModelOutputWithPast = self._decoder(
                inputs_embeds=embedded, attention_mask=batch.mask, **{"use_cache": False, **asked}
            )
        return read

    def _opened(self, batch: Batch, features: Tensor | None, opening: Opening) -> Cache:
        """Read what prompts have in common once an image, and return it for each of them."""
        read: Cache | None = self._decoded(opening.of(batch), features, use_cache=True).past_key_values
        assert read is not None, "a decoder that caches was asked to"
        read.batch_select_indices(opening.rows)
        return read

    def _embedded(self, batch: Batch, features: Tensor | None) -> Tensor:
        embedded = self._words(batch)
        if batch.images is None:
            return embedded
        assert features is not None, "a batch about images needs their features"
        shown = features[batch.images.to(features.device)].to(embedded.dtype)
        if self._begins is not None:
            shown = self.family.upper(self.model, shown, self._begins)
        visual = self._connector(shown)
        return embedded.masked_scatter((batch.ids == self.image_token)[..., None], visual.to(embedded.dtype))

    def _words(self, batch: Batch) -> Tensor:
        # The placeholder's id may lie outside the embedding table, so it is looked up as padding.
        embedded: Tensor = self._embedding(batch.ids.masked_fill(batch.ids == self.image_token, self._prompting.pad))
        return embedded
