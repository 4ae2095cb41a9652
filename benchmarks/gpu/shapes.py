"""Checkpoints made from their configs alone, with random weights: real in speed and size, not in what they answer."""

import contextlib
import re
import sys

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from space_cli.core import phrasing, selection
from space_cli.core.recipe import Concept
from space_cli.core.types import Role
from training.language import TEMPLATE

CONCEPT = Concept(name="Donald Trump", kind="person")
EXTRA = 64
"""Rows that LLaVA-1.5 adds to the decoder's vocabulary: the first is the image's placeholder, the second pads."""
SHARD = "5GB"
"""Largest file of a checkpoint, as the published one has it."""


@dataclass(frozen=True)
class Tower:
    """Sizes of a CLIP: its vision tower, then its text tower."""

    hidden: int
    inner: int
    blocks: int
    heads: int
    side: int  # pixels
    patch: int  # pixels
    width: int  # of an embedding, and of the text tower
    text_blocks: int
    text_heads: int


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaVA and of the pool it is measured with."""

    name: str
    words: int  # vocabulary before the added rows
    hidden: int
    inner: int
    blocks: int
    heads: int
    tower: Tower
    images: int  # of the pool
    roles: Mapping[Role, int]  # images by role


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "llava-1.5-7b", words=32_000, hidden=4096, inner=11_008, blocks=32, heads=32,
            tower=Tower(1024, 4096, 24, 16, side=336, patch=14, width=768, text_blocks=12, text_heads=12),
            # As many anchors as one block of hardening may hold in memory, the others in the proportions of `select`.
            images=1024, roles={"forget": 16, "holdout": 8, "neighbour": 48, "general": 96},
        ),
        Shape(
            "tiny", words=448, hidden=64, inner=160, blocks=4, heads=4,
            tower=Tower(32, 64, 3, 4, side=56, patch=14, width=32, text_blocks=1, text_heads=2),
            images=24, roles={"forget": 4, "holdout": 3, "neighbour": 6, "general": 8},
        ),
    )
}  # fmt: skip


def write_llava(shape: Shape, folder: Path, device: str) -> None:
    """Write a LLaVA with random bfloat16 weights, drawn on the device, with tokenizer, processor and chat template."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(llava_config(shape), dtype=torch.bfloat16)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, shape.words + 1
    processor = LlavaProcessor(
        _pixels(shape.tower), _tokenizer(shape.words), patch_size=shape.tower.patch, chat_template=TEMPLATE,
        vision_feature_select_strategy="default", image_token="<image>", num_additional_image_tokens=1,
    )  # fmt: skip
    with contextlib.redirect_stdout(sys.stderr):
        model.save_pretrained(folder, max_shard_size=SHARD)
        processor.save_pretrained(folder)


def write_encoder(shape: Shape, folder: Path, device: str) -> None:
    """Write a CLIP with random float16 weights and the LLaVA's tower shape."""
    torch.manual_seed(1)
    tower = shape.tower
    text = {"vocab_size": shape.words + EXTRA, "hidden_size": tower.width, "num_hidden_layers": tower.text_blocks}
    text |= {"num_attention_heads": tower.text_heads, "intermediate_size": 4 * tower.width}
    text |= {"pad_token_id": shape.words + 1, "bos_token_id": 1, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config=_vision(tower).to_dict(), projection_dim=tower.width)
    with torch.device(device):
        model = AutoModel.from_config(config, dtype=torch.float16)
    with contextlib.redirect_stdout(sys.stderr):
        model.save_pretrained(folder)
        _pixels(tower).save_pretrained(folder)
        _tokenizer(shape.words).save_pretrained(folder)


def llava_config(shape: Shape) -> LlavaConfig:
    """Return the config of a shape; that of 7B is the published one, as far as it decides sizes."""
    text = LlamaConfig(
        vocab_size=shape.words + EXTRA, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.blocks, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=4096, rms_norm_eps=1e-5, pad_token_id=shape.words + 1, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    return LlavaConfig(
        vision_config=_vision(shape.tower), text_config=text, image_token_index=shape.words,
        image_seq_length=(shape.tower.side // shape.tower.patch) ** 2, vision_feature_layer=-2,
        vision_feature_select_strategy="default", tie_word_embeddings=False,
    )  # fmt: skip


def _vision(tower: Tower) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=tower.hidden, intermediate_size=tower.inner, num_hidden_layers=tower.blocks,
        num_attention_heads=tower.heads, image_size=tower.side, patch_size=tower.patch, projection_dim=tower.width,
    )  # fmt: skip


def _pixels(tower: Tower) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(
        size={"shortest_edge": tower.side}, crop_size={"height": tower.side, "width": tower.side}
    )


def _tokenizer(words: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words: those of the questions, then made-up ones up to the vocabulary's size."""
    known = dict.fromkeys(("<unk>", "<s>", "</s>", *_asked()))
    filled = [*known, *(f"word{row}" for row in range(len(known), words)), "<image>", "<pad>"]
    filled += [f"word{row}" for row in range(len(filled), words + EXTRA)]
    inner = Tokenizer(models.WordLevel({word: row for row, word in enumerate(filled)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=["<image>"], chat_template=TEMPLATE,
    )  # fmt: skip


def _asked() -> list[str]:
    """Return the words and marks of everything that is asked or scored."""
    texts = [*phrasing.ERASE_OPEN, *phrasing.ERASE_YES_NO, *phrasing.OPENINGS, *phrasing.IDENTITY_FREE]
    texts += [phrasing.TEXT_KIND_QUESTION, phrasing.TEXT_HOME_QUESTION, TEMPLATE, *selection.CALIBRATION_WORDS]
    texts += [CONCEPT.name, f"a an the some {CONCEPT.kind} Yes No"]
    return [word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)]
