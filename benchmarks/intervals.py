"""95 % intervals of a mean over units, such as concepts: wide enough for few of them.

A percentile bootstrap is too narrow, the more the fewer units there are: on normal values it holds the mean in 75, 79
and 86 % of samples of 3, 4 and 6. Student's interval holds it in 95, but takes the values for normal, which shares near
0 and 1 are not. So an interval reaches as far as either of the two.
"""

import math

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

LEAST = 3
"""Units that an interval takes: of two, Student's is 12.7 times their standard error either way, and says nothing."""
DRAWS = 10_000
"""Resamplings of an interval."""
STEPS = 20_000
"""Of an integral over an angle, for a quantile that is right to seven digits."""


class Share(float):
    """A number in [0, 1], whose mean's interval ends there; what is reckoned from shares is a plain number again.

    Example:
        >>> type(Share(0.75) - Share(0.5)).__name__
        'float'
    """


def interval(means: Sequence[float], *, share: bool) -> tuple[float, float] | None:
    """Return the ends of the interval of a mean, or None where there are too few units.

    Args:
        means: A number a unit.
        share: They are shares: the interval is cut to [0, 1].
    """
    values = np.asarray(means, dtype=float)
    if len(values) < LEAST:
        return None
    draws = np.random.default_rng(0).choice(values, (DRAWS, len(values))).mean(1)
    mean, reach = values.mean(), quantile(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    low, high = np.quantile(draws, (0.025, 0.975))
    low, high = min(float(low), float(mean - reach)), max(float(high), float(mean + reach))
    return (max(low, 0.0), min(high, 1.0)) if share else (low, high)


@lru_cache
def quantile(freedom: int) -> float:
    """Return Student's quantile of a two-sided 95 % interval.

    With t = √ν tan θ, the probability of |T| < t is the integral of cos^(ν-1) up to θ over that up to π/2.

    Example:
        >>> [round(quantile(freedom), 3) for freedom in (2, 5, 23)]
        [4.303, 2.571, 2.069]
    """
    angles = np.linspace(0, math.pi / 2, STEPS + 1)
    heights = np.cos(angles) ** (freedom - 1)
    within = np.cumsum((heights[1:] + heights[:-1]) / 2)
    angle = np.interp(0.95 * within[-1], within, angles[1:])
    return math.sqrt(freedom) * math.tan(float(angle))
