"""What the requests so far have used of the safe subspace and of the retain budget: a meter for who plans the next one.

Shapes: d = width of a layer's input, o = width of its output, q = free directions, r = used directions.
"""

from collections.abc import Mapping, Sequence

import torch

from jaxtyping import Float
from torch import Tensor

from space_cli.core.types import Edit

DOUBTFUL = 0.5
"""Spent share of the retain budget from which retention is doubtful. How many directions are used says little about it:
on the bundled checkpoint they are all used after six requests, long before names are lost
(docs/benchmarks/development.md)."""
NOTHING = 1e-5
"""Singular value, relative to the largest, under which a direction of factors counts as none: float32 noise."""
DENSE_ENERGY = 0.99
"""Share of a dense edit's energy whose directions count: it has all directions to some extent, most of them barely."""


def used_directions(edits: Sequence[Edit], device: torch.device) -> Float[Tensor, "d r"]:
    """Return the input directions that the edits of one layer act on, orthonormal columns, float64, on a device."""
    rows = torch.cat([_directions(edit, device) for edit in edits])
    return _row_space(rows, NOTHING).T


def used_share(basis: Float[Tensor, "d q"], edits: Sequence[Edit]) -> float:
    """Return the share of a layer's free directions that edits have used, in [0, 1].

    It is `||Sᵀ Q||² / q` with S the free directions and Q those of the edits: a free direction that lies half inside
    what is used counts half. A layer without a free direction has none left, so 1.

    Args:
        basis: Orthonormal, as `safe_basis` returns it.
        edits: Of this layer, from every request.
    """
    if not basis.shape[1]:
        return 1.0
    if not edits:
        return 0.0
    inside = basis.double().T @ used_directions(edits, basis.device)
    return min(1.0, float(inside.pow(2).sum()) / basis.shape[1])


def by_layer(requests: Sequence[Sequence[Edit]]) -> dict[str, list[Edit]]:
    """Sort the edits of several requests by the layer they change, oldest first."""
    found: dict[str, list[Edit]] = {}
    for edits in requests:
        for edit in edits:
            found.setdefault(edit.layer, []).append(edit)
    return found


def spent_share(found: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """Return which share of the retain budget is spent, by the figure that has spent most of its own; 1 is all of it.

    Example:
        >>> spent_share({"retain_kl": 0.01, "neighbours_changed": 0.03, "steps": 40}, {"retain_kl": 0.05})
        0.2
    """
    both = [(found[name], limit) for name, limit in limits.items() if name in found]
    return max((value / limit if limit else float(value > 0) for value, limit in both), default=0.0)


def reading(used: Mapping[str, float], requests: int, spent: float) -> str:
    """Return in a sentence what the meter shows and, where it is doubtful, what that means.

    Args:
        used: Share by layer.
        requests: Requests so far.
        spent: Share of the retain budget.

    Example:
        >>> reading({"a": 0.1, "b": 0.3}, 2, 0.04)
        '2 requests have spent 4 % of the retain budget and use 20 % of the free directions, 30 % in the fullest layer'
    """
    mean, most = sum(used.values()) / len(used), max(used.values())
    told = (
        f"{requests} requests have spent {spent:.0%} of the retain budget and use {mean:.0%} of the free directions, "
        f"{most:.0%} in the fullest layer"
    ).replace("%", " %")
    return told if spent < DOUBTFUL else f"{told}: retention is doubtful from here on, as the budget is one for all"


def _directions(edit: Edit, device: torch.device) -> Float[Tensor, "r d"]:
    if edit.right is not None:
        return edit.right.detach().to(device, torch.float64)
    # A dense delta: the directions that hold nearly all of its energy.
    delta = edit.delta().detach().to(device, torch.float64)
    _, sizes, rows = torch.linalg.svd(delta, full_matrices=False)
    held = torch.cumsum(sizes.pow(2), 0) / sizes.pow(2).sum().clamp(min=1e-300)
    strongest: Tensor = rows[: int((held < DENSE_ENERGY).sum()) + 1]
    return strongest


def _row_space(rows: Float[Tensor, "r d"], least: float) -> Float[Tensor, "r d"]:
    _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
    space: Tensor = directions[sizes > least * sizes[:1].clamp(min=1e-300)]  # the largest first; none of no rows
    return space
