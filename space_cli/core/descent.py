"""Adam on the trained factors of a subspace: one step at a time, to be widened, saved and continued.

Shapes: o = width of a layer's output, d = of its input, r = trained directions.
"""

from collections.abc import Iterable, Mapping

import torch

from torch import Tensor

from space_cli.core.scaling import LossScale
from space_cli.core.subspace import Subspace

WIDENED = "widened"
"""Key of a saved state: how often the subspace was widened before."""
SCALE = "scale"
"""Another: the factor of the loss, which in half precision may have become smaller."""


class Descent:
    """Steps down a loss within the subspace.

    Args:
        subspace: What is trained.
        lr: Adam's step, in units of the factors.
    """

    def __init__(self, subspace: Subspace, lr: float) -> None:
        self.subspace = subspace
        self._lr = lr
        self._scale = LossScale()
        self._optimiser = self._fresh()

    def step(self, number: int, terms: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
        """Take one step down the sum of the terms, and return its row of the log.

        Each group is differentiated before the next one's forward pass: the sum of the gradients is the gradient of the
        sum, and only one group's activations are held at a time. A group that passes none of the edited layers, as text
        alone passes no connector, has nothing to differentiate.

        Raises:
            RuntimeError: No group depends on what is trained.
        """
        self._optimiser.zero_grad()
        row: dict[str, float] = {}
        reached = False
        for group in terms:
            loss = torch.stack(list(group.values())).sum()
            if loss.requires_grad:
                self._scale.backward(loss, list(self.subspace.left.values()))
                reached = True
            row |= {name: row.get(name, 0.0) + term.item() for name, term in group.items()}
        if not reached:
            raise RuntimeError("no term of the loss depends on an edited layer")
        self.subspace.step(self._optimiser)
        return {"step": number, "loss": sum(row.values()), **row}

    def widen(self) -> None:
        """Train on in a wider subspace; Adam's moments begin anew."""
        self.subspace.widen()
        self._optimiser = self._fresh()

    def state(self) -> dict[str, Tensor]:
        """Return what cannot be computed again: the factors, Adam's moments, how wide the subspace is, the scale."""
        tensors = {WIDENED: torch.tensor(self.subspace.widened), SCALE: self._scale.state()}
        for layer, left in self.subspace.left.items():
            tensors[f"left.{layer}"] = left
            for name, value in self._optimiser.state[left].items():
                tensors[f"{name}.{layer}"] = value
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        for _ in range(int(tensors[WIDENED])):
            self.widen()
        self._scale.restore(tensors[SCALE])
        for layer, left in self.subspace.left.items():
            with torch.no_grad():
                left.copy_(tensors[f"left.{layer}"])
            self._optimiser.state[left] = {
                name: tensors[key].to(left.device if name != "step" else "cpu")
                for name in ("step", "exp_avg", "exp_avg_sq")
                # Right after widening there are no moments yet.
                if (key := f"{name}.{layer}") in tensors
            }

    def _fresh(self) -> torch.optim.Adam:
        return torch.optim.Adam(list(self.subspace.left.values()), lr=self._lr)
