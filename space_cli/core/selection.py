"""Text-guided proxy anchor selection: threshold, re-rank, diversify, give disjoint roles.

Shapes: n = pool images, c = candidates, d = embedding width, w = calibration words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxtyping import Float, Int

from space_cli.core.errors import GateRefusal
from space_cli.core.matching import mentions
from space_cli.core.types import Role

CALIBRATION_WORDS = (
    "galaxy", "spreadsheet", "waterfall", "tractor", "violin", "omelette", "passport", "volcano", "sweater", "bridge",
    "tulip", "keyboard", "lizard", "cathedral", "bicycle", "surgeon", "mountain", "sandwich", "lantern", "submarine",
    "beard", "carpet", "dolphin", "skyscraper", "necklace", "wrench", "forest", "piano", "tiger", "envelope",
)  # fmt: skip
"""Words of many kinds: a pool image meets most of them by chance only, which shows what chance looks like here."""

TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}")


def calibrated_floor(chance: Float[np.ndarray, "n w"], *, quantile: float = 0.95) -> float:
    """Return the similarity that chance pairs of this pool and this encoder rarely reach."""
    return float(np.quantile(chance, quantile))


def candidates(similarities: Float[np.ndarray, " n"], *, floor: float, count: int, least: int) -> Int[np.ndarray, " c"]:
    """Return the rows above the floor, most similar first, at most `count`.

    Raises:
        GateRefusal: Fewer than `least` images are that near.
    """
    order = np.argsort(-similarities, kind="stable")[:count]
    near = order[similarities[order] >= floor]
    if len(near) < least:
        top = float(similarities[order[0]]) if len(order) else float("nan")
        raise GateRefusal(
            f"the pool holds nothing near the concept: {len(near)} images reach the similarity floor {floor:.3f}, "
            f"{least} are needed, the best has {top:.3f}",
            hint="index more images of the same kind of thing, or lower `--floor`",
            figures={"near": len(near), "needed": least, "floor": floor, "top_similarity": top},
        )
    return near


def diversified(
    embeddings: Float[np.ndarray, "c d"], ranking: Int[np.ndarray, " r"], count: int
) -> Int[np.ndarray, " k"]:
    """Pick `count` positions by farthest-point sampling, starting from the best ranked.

    Args:
        embeddings: Unit vectors of the candidates.
        ranking: Candidate positions, best first.
        count: How many to pick; fewer candidates are all returned.

    Returns:
        Positions in the order they were picked.
    """
    count = min(count, len(ranking))
    if not count:
        return np.empty(0, dtype=np.int64)
    picked = [int(ranking[0])]
    nearest = embeddings @ embeddings[picked[0]]
    allowed = np.full(len(embeddings), np.inf)
    allowed[ranking] = 0
    while len(picked) < count:
        nearest_allowed = nearest + allowed
        nearest_allowed[picked] = np.inf
        chosen = int(np.argmin(nearest_allowed))
        picked.append(chosen)
        nearest = np.maximum(nearest, embeddings @ embeddings[chosen])
    return np.array(picked, dtype=np.int64)


@dataclass(frozen=True)
class Counts:
    """How many images play each role."""

    anchors: int
    holdout: int
    neighbours: int
    general: int


def roles(
    picked: Int[np.ndarray, " k"], by_similarity: Int[np.ndarray, " n"], counts: Counts, seed: int
) -> dict[Role, list[int]]:
    """Give each pool row at most one role.

    Args:
        picked: Rows for forgetting, in the order of the diversifier; every fourth becomes a held-out anchor, and so do
            those that the forget anchors leave over while held-out ones are wanted.
        by_similarity: All rows that may be used, most similar first.
        counts: The wanted sizes.
        seed: Draws the general images.

    Returns:
        Rows by role; the forget anchors are filled before the held-out ones are cut short.
    """
    holdout = [int(row) for row in picked[3::4]][: counts.holdout]
    rest = [int(row) for row in picked if int(row) not in set(holdout)]
    forget, over = rest[: counts.anchors], rest[counts.anchors :]
    holdout += over[: counts.holdout - len(holdout)]
    used = {*forget, *holdout}
    free = [int(row) for row in by_similarity if int(row) not in used]
    near, rest = free[: counts.neighbours], free[counts.neighbours :]
    drawn = np.random.default_rng(seed).permutation(len(rest))[: counts.general]
    return {
        "forget": forget,
        "holdout": holdout,
        "neighbour": near,
        "general": sorted(rest[i] for i in drawn),
    }


def naming_rows(rows: Int[np.ndarray, " c"], answers: Iterable[Sequence[str]], names: Sequence[str]) -> set[int]:
    """Return the rows whose answers contain one of the names.

    Args:
        rows: Of the pool.
        answers: To each question, one a row.
        names: The name and its aliases.
    """
    given = zip(rows, zip(*answers, strict=True), strict=True)
    return {int(row) for row, told in given if any(mentions(answer, names) for answer in told)}
