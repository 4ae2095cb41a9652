"""How many images a pass may hold: activations, keys and values, not weights, are what fills a GPU."""

import math
import os

from typing import Any

import torch

from torch import nn

SHARE = 0.25
"""Share of the device's memory for what one backward pass keeps; weights, moments and logits need the rest."""
FREE_SHARE = 0.7
"""Share of what is free that it takes at most, where weights, moments or other processes have left less than that."""
COPIED = 1.25
"""Room for keys and values, in their own size: with each token those of a layer are copied, one layer at a time."""
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
    return max(1, int(_room(weight.device) / a_row))


def answers_at_once(model: nn.Module, visual: int, tokens: int) -> int:
    """Return how many answers may be written together, whose prompts' keys and values stay until all are done.

    Args:
        model: A checkpoint whose `config` describes its decoder.
        visual: Visual tokens of an image; 0 for text alone.
        tokens: Of the longest answer.
    """
    config: Any = model.config
    text = config.get_text_config()
    weight = next(model.parameters())
    # A decoder whose heads share keys and values keeps fewer of them.
    kept = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = kept * text.hidden_size // text.num_attention_heads
    a_row = (visual + BESIDE_IMAGE + tokens) * 2 * width * text.num_hidden_layers * weight.element_size()
    return max(1, int(_room(weight.device) / (COPIED * a_row)))


def _room(device: torch.device) -> float:
    return min(SHARE * _device_bytes(device), FREE_SHARE * _free_bytes(device))


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
