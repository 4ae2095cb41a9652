"""Weights rounded as a deployer would round them, in plain torch: what is stored is fewer bits, what computes is not.

Shapes: o = outputs, i = inputs.
"""

import importlib
import importlib.util
import logging

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch

from jaxtyping import Float
from torch import Tensor, nn

from space_cli.core.errors import EnvironmentFault

Rounding = Callable[[Tensor], Tensor]
GROUP = 128
"""Inputs that share a scale, as in published 4-bit checkpoints."""
TOLD = 160
"""Characters of a foreign failure that are passed on; some print pages."""


def int8(weight: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
    """Round to 255 levels around zero, one scale per output."""
    values = weight.float()
    scale = values.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return ((values / scale).round().clamp(-127, 127) * scale).to(weight.dtype)


def rtn4(weight: Float[Tensor, "o i"], group: int = GROUP) -> Float[Tensor, "o i"]:
    """Round to 16 levels between the least and the greatest of each group of inputs.

    The last group of a row is shorter where the width is no multiple of the group.
    """
    return torch.cat([_levels(part) for part in weight.float().split(group, dim=1)], dim=1).to(weight.dtype)


def nf4(weight: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
    """Round to the 16 levels of NF4, blocks of 64 with their scales rounded too, as bitsandbytes does.

    Raises:
        EnvironmentFault: bitsandbytes cannot be loaded, or cannot round this weight on its device.
    """
    # On a CPU it warns of kernels for matrices in four bits, which nothing here multiplies.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        functional: Any = importlib.import_module("bitsandbytes.functional")
        packed, state = functional.quantize_4bit(
            weight.contiguous(), blocksize=64, compress_statistics=True, quant_type="nf4"
        )
        found: Tensor = functional.dequantize_4bit(packed, state)
        return found.to(weight.dtype).reshape(weight.shape)
    # It looks for a driver and picks a kernel in its own way, and fails with whatever comes up in doing so.
    except Exception as failure:
        told = " ".join(str(failure).split())[:TOLD]
        raise EnvironmentFault(
            f"bitsandbytes cannot round on {weight.device.type}: {type(failure).__name__}: {told}",
            hint="`python -m bitsandbytes` says what it lacks",
        ) from failure


def has_nf4() -> bool:
    """Tell whether bitsandbytes is installed."""
    return importlib.util.find_spec("bitsandbytes") is not None


@contextmanager
def quantized(model: nn.Module, rounding: Rounding) -> Generator[int]:
    """Round the weight of every linear but the output head for the length of a `with` block.

    The weights themselves are put aside and put back, so that not one bit of them can change.

    Yields:
        How many layers were rounded.
    """
    find_head: Callable[[], nn.Module] | None = getattr(model, "get_output_embeddings", None)
    head = find_head() if find_head is not None else None
    layers = [part for part in model.modules() if isinstance(part, nn.Linear) and part is not head]
    own = [layer.weight for layer in layers]
    try:
        with torch.no_grad():
            for layer in layers:
                layer.weight = nn.Parameter(rounding(layer.weight.detach()), requires_grad=False)
        yield len(layers)
    finally:
        for layer, weight in zip(layers, own, strict=True):
            layer.weight = weight


def _levels(part: Tensor) -> Tensor:
    low, high = part.amin(1, keepdim=True).clamp(max=0), part.amax(1, keepdim=True).clamp(min=0)
    scale = ((high - low) / 15).clamp(min=1e-12)
    zero = (-low / scale).round().clamp(0, 15)
    return ((part / scale + zero).round().clamp(0, 15) - zero) * scale
