"""Taking a change back as far as the retain budget asks for."""

from collections.abc import Mapping

from space_cli.core.budget import broken, cost
from space_cli.core.context import EditContext
from space_cli.core.subspace import Subspace
from space_cli.core.watch import Watch

EASED = 0.98
"""Of the scale that would just meet the budget, since the drift is not quite a square."""


def ease(context: EditContext, subspace: Subspace, watch: Watch, found: Mapping[str, float], times: int) -> str:
    """Scale the whole change down where the drift of answers alone is over the budget, and say so.

    No name is lost then, and what drifted was rehearsed as often as it may be. The drift grows with the square of the
    change, while a name far below what counts as forgotten has room to rise. Where it comes back all the same, the
    change stays as it was, for the budget to refuse.

    Args:
        context: The erasure, with its budget.
        subspace: The change as it was trained.
        watch: Looks whether the name stays gone.
        found: What the change costs.
        times: Scalings at most.

    Returns:
        What to add to how the run stopped; empty where nothing was to do.
    """
    kept, share = {layer: left.detach().clone() for layer, left in subspace.left.items()}, 1.0
    for _ in range(times):
        if set(broken(context, found)) != {"retain_kl"}:
            break
        part = EASED * (context.budget.retain_kl / found["retain_kl"]) ** 0.5
        subspace.scale(part)
        share *= part
        watch.look(subspace.factors())
        if watch.named:
            for layer, left in subspace.left.items():
                left.data.copy_(kept[layer])
            watch.look(subspace.factors())
            return ""
        found = cost(context, subspace.factors())
    return f"; taken back to {100 * share:.0f} % to keep the retain budget" if share < 1 else ""
