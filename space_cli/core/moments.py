"""Second moments of layer inputs, in float64: summed as they come, or of few keys that are kept.

Shapes: n = tokens, d = width of the layer's input.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch

from jaxtyping import Float
from torch import Tensor

PARTS = 8
"""In which a moment is summed: nine of sixteen products are left, and of a wide layer a time of .6 to .75."""


@dataclass
class SecondMoment:
    """`Σ k kᵀ` of a layer's inputs, with the number of tokens summed.

    Example:
        >>> moment = SecondMoment(2).update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        >>> moment.mean().tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """

    width: int
    tokens: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))

    def update(self, keys: Float[Tensor, "n d"]) -> "SecondMoment":
        """Add a block of keys and return self."""
        if not self.total.numel():
            self.total = torch.zeros(self.width, self.width, dtype=torch.float64, device=keys.device)
        # float64 inside the block too: float32 noise would fill the null space that this is summed for.
        block = keys.double()
        for first, last in self._spans():
            self.total[first:last, first:].addmm_(block[:, first:last].T, block[:, first:])
        self.tokens += len(keys)
        return self

    def mean(self) -> Float[Tensor, "d d"]:
        """Return the second moment, activation units squared; zeros before any key."""
        if not self.tokens:
            return torch.zeros(self.width, self.width, dtype=torch.float64)
        with torch.inference_mode():  # as where it was summed: such a tensor is not written to outside
            for first, last in self._spans():
                self.total[last:, first:last] = self.total[first:last, last:].T
        return self.total / self.tokens

    def _spans(self) -> list[tuple[int, int]]:
        """Return the columns of each part: of a moment, which is symmetric, what is left of a part is not summed."""
        edges = [self.width * part // PARTS for part in range(PARTS + 1)]
        return list(pairwise(edges))


@dataclass
class FewKeys:
    """Keys whose second moment is taken when it is wanted: fewer than the layer is wide, they take less room than it.

    Example:
        >>> few = FewKeys(2).update(torch.tensor([[2.0, 0.0]])).update(torch.tensor([[0.0, 2.0]]))
        >>> few.mean().tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """

    width: int
    blocks: list[Tensor] = field(default_factory=list)

    def update(self, keys: Float[Tensor, "n d"]) -> "FewKeys":
        """Keep a block of keys and return self."""
        self.blocks.append(keys.float())
        return self

    def mean(self) -> Float[Tensor, "d d"]:
        """Return the second moment, activation units squared; zeros before any key."""
        found = SecondMoment(self.width)
        return found.update(torch.cat(self.blocks)).mean() if self.blocks else found.mean()


def with_openings(every: SecondMoment, opening: FewKeys, weight: float) -> Float[Tensor, "d d"]:
    """Return the moment of all tokens plus a weight times that of the first tokens."""
    mean = every.mean()
    # The connector sees no first token: its zeros are made on the CPU, wherever the other keys are.
    return mean.add_(opening.mean().to(mean.device), alpha=weight)
