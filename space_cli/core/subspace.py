"""What is trained: a change of each layer, kept to the directions that retained keys do not use.

    parametrised   ΔW = B·Uᵀ with U orthonormal inside the safe subspace and only B trained
    update         ΔW trained as it is and projected after each step of the optimiser
    gradient       its gradient projected before the optimiser; Adam's scaling by entries leaves the subspace again
    none           ΔW trained as it is

The first two hold the constraint exactly under any optimiser. The others are there to be compared with.

Shapes: o = width of a layer's output, d = of its input, r = trained directions.

References:
    Gradient Projection Memory for Continual Learning (Saha et al., 2021), arXiv:2103.09762
"""

from typing import Literal

import torch

from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.linalg import anchor_basis, energy, within_norm
from space_cli.core.types import Edit

Projection = Literal["parametrised", "update", "gradient", "none"]
LEAK = 5e-2
"""Share of retained energy that `dcsi` leaves unprotected: with a quarter of it photographs stay named in unusual words
and by what is pushed anew, and a name is soon learnt again (docs/benchmarks/development.md)."""


class Subspace:
    """The trained factors: layer -> (B [o, r], Uᵀ [r, d]); where nothing is parametrised, Uᵀ is the identity.

    Args:
        context: Gives weights and retained moments.
        anchor_moments: Second moments of the anchors' keys by layer; a parametrised change is trained where they are.
        leak: Share of retained energy left unprotected.
        rank: Directions per layer at most, of a parametrised change; as many more each time it is widened.
        projection: What keeps the change to the safe subspace.
    """

    def __init__(
        self,
        context: EditContext,
        anchor_moments: dict[str, Tensor],
        *,
        leak: float,
        rank: int,
        projection: Projection = "parametrised",
    ) -> None:
        self.right: dict[str, Tensor] = {}
        self.left: dict[str, Tensor] = {}
        self.widened = 0
        self._context = context
        self._anchor_moments = anchor_moments
        self._leak = leak
        self._rank = rank
        self._projection = projection
        self._bases: dict[str, Tensor] = {}
        self._weight_norm: dict[str, float] = {}
        self._base_energy: dict[str, float] = {}
        self._inner: dict[str, Tensor] = {}
        self._crossed: dict[str, Tensor] = {}
        self._moved: dict[str, float] = {}
        self._limit = context.max_change
        context.moment(context.layers[0])  # of all layers at once, with a bar of its own
        with context.progress.task("safe directions", len(context.layers)) as advance:
            for layer in context.layers:
                self._begin(layer)
                advance()

    def widen(self) -> None:
        """Leave twice the share of retained energy unprotected, and train `rank` more directions of a layer.

        What was trained stays where it is: its directions lie in the wider subspace as well.
        """
        self.widened += 1
        self._leak *= 2
        with self._context.progress.task("safe directions", len(self.left)) as advance:
            for layer, left in self.left.items():
                self._grow(layer, left.detach())
                advance()

    def _begin(self, layer: str) -> None:
        """Measure what a layer does to retained keys, and choose its first directions."""
        weight, added = self._context.weight(layer), self._context.added(layer)
        moment = self._context.moment(layer)
        self._weight_norm[layer] = float(weight.norm())
        self._base_energy[layer] = energy(weight if added is None else weight - added, moment)
        if added is not None:
            self._moved[layer] = energy(added, moment)
        self._grow(layer, weight.new_zeros(weight.shape[0], 0))

    def _grow(self, layer: str, trained: Tensor) -> None:
        """Choose the directions of a layer, those that were trained first, and begin the others at zero."""
        basis = self._context.safe_basis(layer, self._leak)
        if self._projection == "parametrised":
            taken = self.right[layer].T if layer in self.right else None
            chosen = anchor_basis(self._anchor_moments[layer], basis, self._rank, taken=taken)
            chosen = chosen if taken is None else torch.cat([taken.to(chosen), chosen], dim=1)
        else:
            chosen = torch.eye(len(basis), dtype=basis.dtype, device=basis.device)
            self._bases[layer] = basis.float()
        self.right[layer] = chosen.T.float().contiguous()
        more = trained.new_zeros(len(trained), chosen.shape[1] - trained.shape[1])
        self.left[layer] = torch.cat([trained, more], dim=1).requires_grad_(True)
        moment = self._context.moment(layer)
        self._inner[layer] = (chosen.T @ moment @ chosen).float()
        added = self._context.added(layer)
        if added is not None:
            self._crossed[layer] = (added.double() @ (moment @ chosen)).float()

    def factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what `editing` hooks in."""
        return {layer: (self.left[layer], self.right[layer]) for layer in self.right}

    def leak(self) -> Tensor:
        """Return the mean over layers of `||ΔW K||² / ||W K||²` on retained keys; differentiable.

        ΔW is the change since before the first request, and W the weight before it.
        """
        shares = [self._leaked(layer, left) / self._base_energy[layer] for layer, left in self.left.items()]
        return torch.stack(shares).mean()

    def size(self) -> Tensor:
        """Return the mean over layers of `||ΔW||² / ||W||²`; differentiable."""
        shares = [left.pow(2).sum() / self._weight_norm[layer] ** 2 for layer, left in self.left.items()]
        return torch.stack(shares).mean()

    @torch.no_grad()
    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Take one step of the optimiser, keep the change to the safe subspace, and shrink what exceeds the limit."""
        if self._projection == "gradient":
            for layer, left in self.left.items():
                if left.grad is not None:
                    left.grad.copy_(self._projected(layer, left.grad))
        optimiser.step()
        for layer, left in self.left.items():
            if self._projection == "update":
                left.copy_(self._projected(layer, left))
            left.copy_(within_norm(left, self._limit * self._weight_norm[layer]))

    @torch.no_grad()
    def scale(self, share: float) -> None:
        """Keep a share of the whole change; every law that it obeyed it obeys still."""
        for left in self.left.values():
            left.mul_(share)

    def edits(self) -> list[Edit]:
        """Return the edits as they stand: factors where they are parametrised, else dense."""
        if self._projection == "parametrised":
            return [
                Edit(layer, left=left.detach().clone(), right=self.right[layer]) for layer, left in self.left.items()
            ]
        return [Edit(layer, dense=left.detach().clone()) for layer, left in self.left.items()]

    def _leaked(self, layer: str, left: Tensor) -> Tensor:
        own = torch.einsum("or,rs,os->", left, self._inner[layer], left)
        if layer not in self._moved:
            return own
        return own + 2 * (left * self._crossed[layer]).sum() + self._moved[layer]

    def _projected(self, layer: str, change: Tensor) -> Tensor:
        basis = self._bases[layer]
        return change @ basis @ basis.T
