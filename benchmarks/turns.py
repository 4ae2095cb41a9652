"""The same work with and without something, by turns in one process."""

import statistics
import sys
import time

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

Work = Callable[[], object]


def times_as_fast(
    what: str, work: Work, without: Callable[[], AbstractContextManager[object]], repeats: int
) -> dict[str, object]:
    """Time work as it is and within the block that `without` gives, once each a turn, after one run that is not timed.

    Args:
        what: Said with the ratio.
        work: Returns when it is done.
        without: Takes away what is to be measured, for the length of a block.
        repeats: Turns.

    Returns:
        The median ratio, that of each turn, and both medians in seconds.
    """
    having: list[float] = []
    lacking: list[float] = []
    work()
    for _ in range(repeats):
        having.append(_seconds(work))
        with without():
            lacking.append(_seconds(work))
    ratios = [one / other for one, other in zip(lacking, having, strict=True)]
    print(f"{what}: {statistics.median(ratios):.2f} times as fast", file=sys.stderr)
    return {
        "times_as_fast": round(statistics.median(ratios), 2),
        "in_each_turn": [round(ratio, 2) for ratio in ratios],
        "seconds_with": round(statistics.median(having), 3),
        "seconds_without": round(statistics.median(lacking), 3),
    }


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
