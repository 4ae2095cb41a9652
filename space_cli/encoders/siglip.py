"""SigLIP checkpoints: two towers trained with a sigmoid loss, whose texts always fill the tower.

References:
    Sigmoid Loss for Language Image Pre-Training (Zhai et al., 2023), arXiv:2303.15343
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, SiglipModel

from space_cli.core.errors import ArtifactFault
from space_cli.io.encoder import load_towers
from space_cli.io.images import Pixels


def load(folder: Path, device: str) -> "SiglipEncoder":
    """Load a SigLIP checkpoint for embedding: float32 on a CPU, bfloat16 on a GPU, as it was trained.

    Args:
        folder: Weights as safetensors, tokenizer and `preprocessor_config.json`.
        device: As torch names it.

    Raises:
        ArtifactFault: A file is missing or damaged, or the files do not fit together.
    """
    model, tokenizer, pixels = load_towers(SiglipModel, folder, device, half=torch.bfloat16)
    if tokenizer.pad_token is None:
        raise ArtifactFault(
            f"`{folder}` has a tokenizer without a pad token: SigLIP fills texts with it",
            hint="take the tokenizer files as they were published with it",
        )
    return SiglipEncoder(model, tokenizer, pixels)


class SiglipEncoder:
    """A loaded SigLIP.

    Shapes: n = items, d = width.
    """

    def __init__(self, model: SiglipModel, tokenizer: PreTrainedTokenizerBase, pixels: Pixels) -> None:
        self.width: int = model.config.vision_config.hidden_size
        self.side: int = model.config.vision_config.image_size
        self._model = model
        self._tokenizer = tokenizer
        self._pixels = pixels

    def preprocess(self, image: Image) -> Tensor:
        """Return one image as pixels [3, side, side] float32; safe on any thread."""
        return self._pixels(image)

    @torch.inference_mode()
    def images(self, pixels: Tensor) -> Tensor:
        """Return unit embeddings [n, d] float32 on the CPU."""
        found = self._model.get_image_features(pixels.to(self._model.device, self._model.dtype))
        return F.normalize(found.pooler_output.float(), dim=-1).cpu()

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings [n, d] float32 on the CPU; a text too long for the tower is cut."""
        limit = self._model.config.text_config.max_position_embeddings
        # No mask: the tower saw its padding in training, and reads its summary at the last position.
        filled = self._tokenizer(list(texts), padding="max_length", truncation=True, max_length=limit)
        ids = torch.tensor(filled["input_ids"], device=self._model.device)
        return F.normalize(self._model.get_text_features(ids).pooler_output.float(), dim=-1).cpu()
