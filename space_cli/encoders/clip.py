"""CLIP checkpoints: image and text towers joined by two projections.

References:
    Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021),
    arXiv:2103.00020
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from PIL.Image import Image
from torch import Tensor
from transformers import CLIPModel, PreTrainedTokenizerBase

from space_cli.io.encoder import load_towers
from space_cli.io.images import Pixels

FIRST_EOS = 2
"""This `eos_token_id` stands in old configs and means "the highest token id ends the text"."""


def load(folder: Path, device: str) -> "ClipEncoder":
    """Load a CLIP checkpoint for embedding: float32 on a CPU, float16 on a GPU, as it was trained.

    Args:
        folder: Weights as safetensors, tokenizer and `preprocessor_config.json`.
        device: As torch names it.

    Raises:
        ArtifactFault: A file is missing or damaged, or the files do not fit together.
    """
    model, tokenizer, pixels = load_towers(CLIPModel, folder, device, half=torch.float16)
    return ClipEncoder(model, tokenizer, pixels)


class ClipEncoder:
    """A loaded CLIP.

    Shapes: n = items, d = width.
    """

    def __init__(self, model: CLIPModel, tokenizer: PreTrainedTokenizerBase, pixels: Pixels) -> None:
        self.width: int = model.config.projection_dim
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
        ids, mask = self._tokens(texts)
        found = self._model.get_text_features(ids, attention_mask=mask)
        return F.normalize(found.pooler_output.float(), dim=-1).cpu()

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        config = self._model.config.text_config
        limit = config.max_position_embeddings
        rows: list[list[int]] = self._tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        end = self._tokenizer.eos_token_id if config.eos_token_id == FIRST_EOS else config.eos_token_id
        # The tower reads the end token's position, which not every tokenizer writes by itself.
        rows = [row if end in row else [*row[: limit - 1], end] for row in rows]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [end] * (longest - len(row)) for row in rows], device=self._model.device)
        lengths = torch.tensor([len(row) for row in rows], device=self._model.device)
        return ids, (torch.arange(longest, device=ids.device) < lengths[:, None]).long()
