"""How far two erased checkpoints are apart, asked the same questions: the difference of each score with its interval.

Both answered about the same images, so that what makes an image hard for both cancels: images are resampled as pairs,
and the interval of the difference is narrower than two intervals side by side let one think.
"""

import math

from collections.abc import Mapping

from space_cli.core.records import ScoreRecord
from space_cli.core.stats import difference

DIFFERENCE, LOW, HIGH = "difference", "difference_low", "difference_high"
"""Parts of a baseline's score: the audited checkpoint's `after` minus the baseline's, and the ends of its interval."""


def with_differences(
    scores: Mapping[str, ScoreRecord], baseline: Mapping[str, ScoreRecord], *, seed: int
) -> dict[str, ScoreRecord]:
    """Return the baseline's scores, each with what the audited checkpoint has more.

    Where answers do not pair, or one of the two scores is no finite number, that is left out.

    Args:
        scores: Of the audited checkpoint.
        baseline: The same scores of the other one.
        seed: Of the resampling.
    """
    told = {}
    for name, other in baseline.items():
        found = difference(other, scores[name], seed=seed) if name in scores else None
        parts = {} if found is None else {DIFFERENCE: found.mean, LOW: found.low, HIGH: found.high}
        # JSON has no word for what is no finite number, and a part must be one: the record could not be read again.
        parts = parts if all(map(math.isfinite, parts.values())) else {}
        told[name] = other.model_copy(update={"parts": other.parts | parts})
    return told
