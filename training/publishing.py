"""Write a LLaVA and its encoder as two ordinary Hugging Face folders."""

import shutil

from pathlib import Path

from tokenizers import Tokenizer
from transformers import (
    BaseImageProcessor,
    CLIPModel,
    CLIPProcessor,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from space_cli.io.model import open_model
from training import language
from training.skills import with_ends


def publish(
    llava: LlavaForConditionalGeneration,
    encoder: CLIPModel,
    tokenizer: Tokenizer,
    processor: BaseImageProcessor,
    out: Path,
) -> None:
    """Replace `out` by `llava/` and `encoder/`, each with its processor and tokenizer, and open the first again."""
    shutil.rmtree(out, ignore_errors=True)
    llava.save_pretrained(out / "llava")
    spoken = language.wrapped(with_ends(tokenizer, end=False))
    LlavaProcessor(
        processor, spoken, patch_size=llava.config.vision_config.patch_size,
        vision_feature_select_strategy="default", chat_template=language.TEMPLATE, image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(out / "llava")  # fmt: skip
    encoder.save_pretrained(out / "encoder")
    captioner = language.wrapped(with_ends(tokenizer, end=True))
    captioner.chat_template = None
    CLIPProcessor(processor, captioner).save_pretrained(out / "encoder")
    open_model(out / "llava", device="cpu")
