"""Names given to other concepts' pictures before and after an erasure, by how near the concept is to the erased one.

The order is that of `space audit`: similarity of the names in the text space of the pool's encoder.
"""

from collections.abc import Mapping, Sequence

EDGES = (5, 20, 50)
"""Last ranks of the bands; what comes after them is one more."""


def by_band(
    shown: Sequence[str], nearest: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> dict[str, Mapping[str, float]]:
    """Return each band's share named rightly before and after.

    Args:
        shown: The concept of each picture.
        nearest: Every concept, the nearest to the erased one first.
        before: 1 or 0 of each picture.
        after: The same after erasing.
    """
    ranks = {name: row + 1 for row, name in enumerate(dict.fromkeys(n for n in nearest if n in set(shown)))}
    found: dict[str, Mapping[str, float]] = {}
    for first, last in zip((0, *EDGES), (*EDGES, len(ranks)), strict=True):
        rows = [row for row, name in enumerate(shown) if first < ranks[name] <= last]
        if rows:
            label = f"{first + 1} to {last}" if last in EDGES else f"after {first}"
            old, new = (sum(hits[row] for row in rows) / len(rows) for hits in (before, after))
            found[label] = {"before": old, "after": new, "n": len(rows)}
    return found
