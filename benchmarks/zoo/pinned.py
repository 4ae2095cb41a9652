"""Training with instructions that every x86 processor of the last ten years has, one thread.

It is meant for the same weights on any of them, which no two processors have been asked yet (docs/benchmarks/zoo.md).
"""

import os
import sys

from collections.abc import Sequence

PINNED = {
    # Nothing wider: AVX-512, which not every processor has, adds up in another order.
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # Without STRICT, MKL takes another path to the same product on another vendor's processor.
    "MKL_CBWR": "AVX2,STRICT",
    # Threads share a sum out by how many there are.
    "OMP_NUM_THREADS": "1",
}
"""Environment of a pinned run: read once, when the libraries are loaded."""


def pin(arguments: Sequence[str]) -> None:
    """Begin this command anew with the pinned environment; return at once where it is the environment already.

    Args:
        arguments: Of `python -m benchmarks.zoo`.
    """
    if any(os.environ.get(name) != value for name, value in PINNED.items()):
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.zoo", *arguments], {**os.environ, **PINNED})
