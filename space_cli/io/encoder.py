"""Load the three parts of a contrastive encoder: towers, tokenizer and image preprocessing."""

from pathlib import Path
from typing import Any

import torch

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from space_cli.core.errors import REFETCH, ArtifactFault
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.fitting import refuse_large_pictures, refuse_larger
from space_cli.io.growing import refuse_growing
from space_cli.io.images import Pixels, pixels_of
from space_cli.io.loading import OWN_FILES, UNLOADABLE, load_fault, refuse_kernels


def load_towers(
    architecture: type[PreTrainedModel], folder: Path, device: str, *, half: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Pixels]:
    """Load an encoder checkpoint for embedding, without gradients: float32 on a CPU, `half` on a GPU.

    Args:
        architecture: Its class; the config must have a `vision_config` with an `image_size`.
        folder: Weights as safetensors, tokenizer and `preprocessor_config.json`.
        device: As torch names it.
        half: The half precision it was trained in.

    Raises:
        ArtifactFault: A file is missing or damaged, or the files do not fit together.
        EnvironmentFault: Memory ran out.
    """
    checkpoint = open_checkpoint(folder)
    refuse_kernels(folder)
    refuse_growing(folder)
    refuse_larger(checkpoint, lambda: architecture(architecture.config_class.from_pretrained(folder, **OWN_FILES)))
    transformers_logging.disable_progress_bar()
    dtype = half if device.startswith("cuda") else torch.float32
    try:
        model, report = architecture.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **OWN_FILES)
        processor = AutoImageProcessor.from_pretrained(folder, **OWN_FILES)
        pixels = _pixels(folder, processor.to_dict(), model.config.vision_config.image_size)
    except UNLOADABLE as failure:
        raise load_fault(folder, failure) from failure
    if report["missing_keys"]:
        raise ArtifactFault(f"`{folder}` lacks the parameter `{min(report['missing_keys'])}`", hint=REFETCH)
    return model.to(device).eval().requires_grad_(False), tokenizer, pixels


def _pixels(folder: Path, preparation: dict[str, Any], side: int) -> Pixels:
    refuse_large_pictures(folder, preparation, side)
    return pixels_of(preparation, side)
