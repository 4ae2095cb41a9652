"""Intervals of audit numbers: how far a mean over a few images may be from the truth.

Values of one group, such as five phrasings about one image, are resampled together; `n` counts groups,
because asking the same image again is no new evidence.
"""

import math

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from space_cli.core.records import Samples, ScoreRecord
from space_cli.core.types import Interval

RESAMPLES = 2000
"""The 2.5 % tails then rest on 50 draws each: the bounds repeat to about a hundredth between seeds."""

SAME = 1e-12
"""Means of groups closer than this differ by rounding alone."""

Z = 1.959964
"""The normal quantile of a two-sided 95 % interval."""


def interval(
    values: Sequence[float], *, groups: Sequence[Hashable] | None = None, seed: int = 0, share: bool = True
) -> Interval | None:
    """Return the mean with its 95 % percentile bootstrap interval.

    Near 0 and 1 few groups deviate, or none, and the bootstrap is too narrow, though the evidence is finite. So the
    interval of a share holds the Wilson interval of as many trials as there are groups, too: none of 5 reads [0, 0.43]
    and not [0, 0], and one of 12 is no better proof than none of 12.

    Args:
        values: One number per answer.
        groups: What each value belongs to, such as its image; each value on its own if None.
        seed: Of the resampling.
        share: The values lie in [0, 1]; False for nats and the like, which get no Wilson interval.

    Returns:
        The interval, or None for no values.
    """
    if not values:
        return None
    sums, sizes = _by_group(values, groups)
    mean, count = float(sums.sum() / sizes.sum()), len(sums)
    low = high = mean
    if not np.allclose(sums / sizes, mean, rtol=0, atol=SAME):
        low, high = _percentiles(sums, sizes, seed)
    if share:
        least, most = wilson(mean, count)
        low, high = min(low, least), max(high, most)
    return Interval(mean, low, high, count)


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Interval | None:
    """Return the mean change of shares, after minus before, asked of the same images.

    Where few groups changed, or all alike, the bootstrap is too narrow: the interval reaches at least as far as the
    Wilson interval of `n` groups that all agree.

    Args:
        before: One share per answer.
        after: The same answers afterwards, in the same order.
        groups: What each pair belongs to, such as its image.
        seed: Of the resampling.

    Returns:
        The interval of the change, in [-1, 1], or None for no values.
    """
    changes = [new - old for old, new in zip(before, after, strict=True)]
    return _changed(*_by_group(changes, groups), seed=seed, share=True) if changes else None


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share among `count` independent trials.

    Example:
        >>> [round(bound, 3) for bound in wilson(0.0, 5)]
        [0.0, 0.434]
    """
    scale = 1 + Z * Z / count
    centre = (share + Z * Z / (2 * count)) / scale
    reach = Z / scale * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    # Rounding leaves 1e-17 where the bound is exactly 0 or 1.
    low = 0.0 if share == 0 else max(0.0, centre - reach)
    high = 1.0 if share == 1 else min(1.0, centre + reach)
    return low, high


def score(
    before: Sequence[float],
    after: Sequence[float],
    *,
    better: Literal["lower", "higher"],
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
    unit: str = "share",
    note: str = "",
    control: float | None = None,
) -> ScoreRecord:
    """Return the record of one audit number from its single answers.

    Args:
        before: One number per answer of the checkpoint before erasing.
        after: The same answers afterwards, in the same order.
        better: Which way is better.
        groups: What each answer belongs to, such as its image.
        seed: Of the resampling.
        unit: "share" for values in [0, 1], else the unit's name.
        note: What a reader should know beside the number.
        control: The same measure on control concepts.

    Returns:
        The record; its `before` and `after` are None where there are no answers.
    """
    found = interval(after, groups=groups, seed=seed, share=unit == "share")
    if found is None:
        return ScoreRecord(
            before=None,
            after=None,
            low=None,
            high=None,
            n=0,
            better=better,
            unit=unit,
            note=note,
            control=control,
        )
    sums, sizes = _by_group(before, groups)
    record = ScoreRecord(
        before=float(sums.sum() / sizes.sum()),
        after=found.mean,
        low=found.low,
        high=found.high,
        n=found.n,
        better=better,
        unit=unit,
        note=note,
        control=control,
    )
    return record.sampled(_samples(after, groups))


def difference(one: ScoreRecord, other: ScoreRecord, *, seed: int = 0) -> Interval | None:
    """Return how much higher the other's `after` is, with the interval over images that both were asked about.

    Args:
        one: A score of one checkpoint, as `score` made it.
        other: The same score of another checkpoint, of the same questions in the same order.
        seed: Of the resampling.

    Returns:
        The interval, or None where the answers do not pair: other images or another number of answers about one, or
        records that were read from a file.
    """
    asked, again = ([(key, size) for key, _, size in record.samples] for record in (one, other))
    if not asked or asked != again:
        return None
    sums = np.array([new - old for (_, old, _), (_, new, _) in zip(one.samples, other.samples, strict=True)])
    return _changed(sums, np.array([size for _, size in asked]), seed=seed, share=one.unit == "share")


def _changed(sums: np.ndarray, sizes: np.ndarray, *, seed: int, share: bool) -> Interval:
    """Return a mean change; of shares it reaches at least as far as the Wilson interval of groups that all agree."""
    mean, count = float(sums.sum() / sizes.sum()), len(sums)
    low = high = mean
    if not np.allclose(sums / sizes, mean, rtol=0, atol=SAME):
        low, high = _percentiles(sums, sizes, seed)
    if share:
        width = wilson(0.0, count)[1]
        low, high = min(low, max(-1.0, mean - width)), max(high, min(1.0, mean + width))
    return Interval(mean, low, high, count)


def _by_group(values: Sequence[float], groups: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    _, sums, sizes = zip(*_samples(values, groups), strict=True)
    return np.array(sums, dtype=np.float64), np.array(sizes, dtype=np.float64)


def _samples(values: Sequence[float], groups: Sequence[Hashable] | None) -> Samples:
    keys = range(len(values)) if groups is None else groups
    found: dict[Hashable, tuple[float, float]] = {}
    for key, value in zip(keys, values, strict=True):
        total, size = found.get(key, (0.0, 0.0))
        found[key] = total + value, size + 1
    return tuple((key, total, size) for key, (total, size) in found.items())


def _percentiles(sums: np.ndarray, sizes: np.ndarray, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, len(sums), size=(RESAMPLES, len(sums)))
    means = sums[rows].sum(axis=1) / sizes[rows].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
