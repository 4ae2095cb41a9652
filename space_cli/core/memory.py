"""How many images a pass that is differentiated may hold: activations, not weights, are what fills a GPU."""

import math
import os

from typing import Any

import torch

from torch import nn

SHARE = 0.25
"""Share of the device's memory for what one backward pass keeps; weights, moments and logits need the rest."""
FREE_SHARE = 0.7
"""Share of what is free that it takes at most, where weights, moments or other processes have left less than that."""
BESIDE_IMAGE = 64
"""Tokens of a question with its answer, about."""


def rows_at_once(model: nn.Module, visual: int, questions: int = 1) -> int:
    """Return how many images may be differentiated together: at least one, and all where memory is plenty.

    What a block keeps is estimated from its widths: eight states and the norms' float32 copies as wide as the decoder,
    three states as wide as its MLP. Of an image that is asked about more than once each question keeps a copy of its
    keys and values as well.

    Args:
        model: A checkpoint whose `config` describes its decoder.
        visual: Visual tokens of an image; 0 for text alone.
        questions: About each image, in one pass.
    """
    config: Any = model.config
    text = config.get_text_config()
    weight = next(model.parameters())
    a_token = weight.element_size() * (8 * text.hidden_size + 3 * text.intermediate_size) + 16 * text.hidden_size
    copied = visual * questions * 2 * text.hidden_size * weight.element_size() if questions > 1 else 0
    a_row = ((visual + questions * BESIDE_IMAGE) * a_token + copied) * text.num_hidden_layers
    room = min(SHARE * _device_bytes(weight.device), FREE_SHARE * _free_bytes(weight.device))
    return max(1, int(room / a_row))


def _device_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free_bytes(device: torch.device) -> float:
    """Return what a device can still give out, with what torch holds of it and does not use; no limit on a CPU."""
    if device.type != "cuda":
        return math.inf
    free, _ = torch.cuda.mem_get_info(device)
    return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
