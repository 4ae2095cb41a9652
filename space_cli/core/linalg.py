"""The safe subspace: directions that retained keys do not use.

Shapes: d = width of a layer's input, o = width of its output, q = free directions, r = rank.

References:
    Gradient Projection Memory for Continual Learning (Saha et al., 2021), arXiv:2103.09762
    AlphaEdit: Null-Space Constrained Knowledge Editing (Fang et al., 2025), arXiv:2410.02355
"""

import torch

from jaxtyping import Float
from torch import Tensor

from space_cli.core.errors import UsageFault


def safe_basis(second_moment: Float[Tensor, "d d"], leak: float) -> Float[Tensor, "d q"]:
    """Return the directions that together carry at most a share `leak` of the retained keys' energy.

    An edit whose rows lie in this basis moves the layer's output on those keys by at most that share.

    Args:
        second_moment: Symmetric, positive semi-definite, float64; activation units squared.
        leak: Share of the trace left unprotected, in [0, 1). Dimensionless, so one value serves every layer.

    Returns:
        Orthonormal columns, least used first; `q` is 0 when every direction is in use.

    Raises:
        UsageFault: `leak` is outside [0, 1).
    """
    if not 0 <= leak < 1:
        raise UsageFault(
            f"the unprotected share of energy is {leak}: it must lie in [0, 1)", hint="pass a smaller `--set leak=…`"
        )
    values, vectors = _eigh(second_moment.double())
    values = values.clamp(min=0)
    if not values.sum():
        return vectors
    spent = torch.cumsum(values, 0) / values.sum()
    # Rounding noise of float64 sums, relative to the trace; below it a direction counts as unused.
    free = int((spent <= max(leak, 1e-12)).sum())
    return vectors[:, :free]


def anchor_basis(
    anchor_moment: Float[Tensor, "d d"],
    basis: Float[Tensor, "d q"],
    rank: int,
    *,
    taken: Float[Tensor, "d t"] | None = None,
) -> Float[Tensor, "d r"]:
    """Return the free directions that carry most of the anchors' energy.

    Gradients on the anchors lie in the span of their keys, so nothing outside it can be learnt from them.

    Args:
        anchor_moment: Second moment of the anchors' keys.
        basis: Orthonormal columns.
        rank: How many directions are wanted.
        taken: Orthonormal columns inside the span of `basis` that the answer stays clear of.

    Returns:
        Orthonormal columns inside the span of `basis`, most used first; at most `rank` of them.
    """
    inside = basis.T @ anchor_moment.double() @ basis
    room = basis.shape[1]
    if taken is not None:
        used = basis.T @ taken.double()
        clear = torch.eye(room, dtype=basis.dtype, device=basis.device) - used @ used.T
        inside = clear @ inside @ clear
        room -= taken.shape[1]
    values, vectors = _eigh(inside)
    order = values.argsort(descending=True)[: min(rank, room)]
    return basis @ vectors[:, order]


def leverage(second_moment: Float[Tensor, "d d"], basis: Float[Tensor, "d q"]) -> float:
    """Return the share of a second moment's trace that lies in `basis`, orthonormal: what an edit there can act on."""
    moment = second_moment.double()
    trace = float(moment.trace())
    return float(torch.einsum("dq,de,eq->", basis, moment, basis)) / trace if trace else 0.0


def leak_share(delta: Float[Tensor, "o d"], weight: Float[Tensor, "o d"], second_moment: Float[Tensor, "d d"]) -> float:
    """Return `||ΔW K|| / ||W K||`, root mean square over the keys of a second moment."""
    moved, base = energy(delta, second_moment), energy(weight, second_moment)
    return (moved / base) ** 0.5 if base else 0.0


def energy(matrix: Float[Tensor, "o d"], second_moment: Float[Tensor, "d d"]) -> float:
    """Return `tr(M C Mᵀ)`, the mean squared output of a linear map on keys with second moment C."""
    wide = matrix.double()
    return float(((wide @ second_moment.double()) * wide).sum().clamp(min=0))


def within_norm(matrix: Float[Tensor, "o d"], limit: float) -> Float[Tensor, "o d"]:
    """Shrink a matrix to a Frobenius norm of at most `limit`; a smaller one comes back unchanged."""
    norm = float(matrix.norm())
    return matrix * (limit / norm) if norm > limit else matrix


def _eigh(symmetric: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    values, vectors = torch.linalg.eigh(symmetric)
    return values, vectors
