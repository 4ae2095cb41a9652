"""A product of matrices that is the same on every machine, to the bit.

In which order a library sums, and whether it rounds between a product and a sum, depends on the processor, on the
library and on the number of threads. What one machine writes and another one checks bit by bit needs an order of its
own.

Shapes: o = width of the output, r = rank, d = width of the input.
"""

import torch

from jaxtyping import Float
from torch import Tensor

AT_ONCE = 2**14
"""Numbers that are summed together: they stay in a processor's own cache."""


def product_in_order(left: Float[Tensor, "o r"], right: Float[Tensor, "r d"]) -> Float[Tensor, "o d"]:
    """Return `left @ right` in float32, summed in float64 from the first column of `left` to the last.

    The product of two float32 numbers is exact in float64, so that only the sums round, in an order that is written
    down here. For 64 columns it takes some twenty times as long as a library's product, 3 seconds for the widest layer
    of LLaVA-1.5-7B.

    Example:
        >>> product_in_order(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])).tolist()
        [[11.0]]
    """
    others = right.double()
    found = left.new_empty(len(left), right.shape[1], dtype=torch.float32)
    rows = max(1, AT_ONCE // max(1, right.shape[1]))
    for start in range(0, len(left), rows):
        some = left[start : start + rows].double()
        total = some.new_zeros(len(some), right.shape[1])
        for number, other in enumerate(others):
            # Not `addcmul`, which may round once where two roundings are meant.
            total += some[:, number : number + 1] * other
        found[start : start + rows] = total
    return found
