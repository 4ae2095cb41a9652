"""What a decoder's last block works out for nobody, left out.

Its attention reads every token, but what its MLP makes of a token is read by the head alone, and the head is asked only
where an answer's token follows: at five of sixty tokens. Of LLaVA-1.5-7B that MLP is a fiftieth of the decoder, of a
decoder of four blocks a sixth.

Shapes: b = prompts, t = tokens, h = decoder width, a = tokens that are read.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def read_only_at(decoder: nn.Module, places: Tensor) -> Generator[None]:
    """Let the last block's MLP see some tokens alone while the decoder runs; its last states hold at these alone.

    Args:
        decoder: With its blocks as `layers`, each with an `mlp` that sees tokens one by one.
        places: Which are read, [b, t].
    """
    blocks: Any = decoder.layers
    mlp: nn.Module = blocks[-1].mlp

    def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][places],)

    def after(_: nn.Module, __: tuple[Tensor, ...], made: Tensor) -> Tensor:
        found = made.new_zeros(*places.shape, made.shape[-1])
        return found.masked_scatter(places[..., None], made)

    handles = [mlp.register_forward_pre_hook(before), mlp.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
