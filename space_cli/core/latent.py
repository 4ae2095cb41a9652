"""Shifts of the decoder's hidden states at an image's tokens, carried beside the image's features.

Features as a tower gives them out are [n, p, v]. A tensor [n, p, v + k·h] carries k shifts beside them, which are added
to the image's tokens after that many depths of the decoder's first half. Rows of both kinds can be drawn, mixed and
split like any features.

Shapes: n = images, p = visual tokens, v = tower width, h = decoder width, k = depths, b = prompts, t = tokens.

References:
    Latent Adversarial Training (Casper et al., 2024), arXiv:2403.05030
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
import torch.nn.functional as F

from torch import Tensor, nn

from space_cli.core import phrasing
from space_cli.core.memory import rows_at_once
from space_cli.core.protocols import Responder
from space_cli.core.types import Prompt

Output = Tensor | tuple[Tensor, ...]
Hook = Callable[[nn.Module, tuple[Tensor, ...], Output], Output]


def depths(blocks: int, count: int) -> tuple[int, ...]:
    """Return after how many blocks each of `count` shifts is added: at equal distances, the last at half of them.

    Example:
        >>> depths(32, 2), depths(4, 2), depths(1, 2)
        ((8, 16), (1, 2), (1, 1))
    """
    return tuple(max(1, round(turn * blocks / (2 * count))) for turn in range(1, count + 1))


def joined(features: Tensor, shifts: Tensor) -> Tensor:
    """Return features [n, p, v] with shifts [k, n, p, h] beside them, [n, p, v + k·h].

    Features from inside the tower may have a class token in front, whose shift is zero.
    """
    before = features.shape[1] - shifts.shape[2]
    return torch.cat([features, *F.pad(shifts.to(features), (0, 0, before, 0))], dim=-1)


def alone(shift: Tensor, turn: int, count: int) -> Tensor:
    """Return a shift [n, p, h] as the only one of `count`, [count, n, p, h]; the others are zero."""
    nothing = torch.zeros_like(shift)
    return torch.stack([shift if turn == one else nothing for one in range(count)])


@torch.no_grad()
def states(responder: Responder, features: Tensor, turn: int, count: int) -> Tensor:
    """Return the hidden states of images' tokens where the shift of this turn is added, without it, [n, p, h]."""
    config: Any = responder.model.config
    depth = depths(config.get_text_config().num_hidden_layers, count)[turn]
    found = []
    for part in features.split(rows_at_once(responder.model, features.shape[1])):
        batch = responder.batch([Prompt(phrasing.ERASE_OPEN[0], "", row) for row in range(len(part))])
        hidden = responder.hidden(batch, part, depth)
        found.append(hidden[batch.ids == responder.image_token].reshape(len(part), -1, hidden.shape[-1]))
    return torch.cat(found)


@contextmanager
def shifting(decoder: nn.Module, visual: Tensor, beside: Tensor | None) -> Generator[None]:
    """Add what is carried beside the features while the decoder runs.

    Args:
        decoder: With its blocks as `layers`.
        visual: Which tokens are an image's, [b, t].
        beside: The shifts of each prompt's image, [b, p, k·h]; none where there is no image, or k = 0.
    """
    if beside is None or not beside.shape[-1]:
        yield
        return
    blocks: Any = decoder.layers
    config: Any = decoder.config
    shifts = beside.split(config.hidden_size, dim=-1)
    with ExitStack() as stack:
        for depth, shift in zip(depths(len(blocks), len(shifts)), shifts, strict=True):
            stack.callback(blocks[depth - 1].register_forward_hook(_adding(visual, shift)).remove)
        yield


@contextmanager
def entering(decoder: nn.Module, layer: int) -> Generator[list[Tensor]]:
    """Give the list into which the decoder puts what enters its block `layer`, with what was added before it.

    There the block of code ends, and what the decoder would have gone on to do is left out. Nothing enters after the
    last block, so that the code goes on to its end. What transformers hands out as hidden states is no such thing: it
    is taken before anything is added, and the decoder is run to its end.
    """
    blocks: Any = decoder.layers
    seen: list[Tensor] = []

    def leave(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])
        raise _EnteredError

    with ExitStack() as stack:
        if layer < len(blocks):
            stack.callback(blocks[layer].register_forward_pre_hook(leave).remove)
        with suppress(_EnteredError):
            yield seen


class _EnteredError(Exception):
    """Leaves a decoder."""


def _adding(visual: Tensor, shift: Tensor) -> Hook:
    def hook(_: nn.Module, __: tuple[Tensor, ...], output: Output) -> Output:
        hidden = output[0] if isinstance(output, tuple) else output
        moved = hidden + torch.zeros_like(hidden).masked_scatter(visual[..., None], shift.to(hidden))
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    return hook
