"""How typical of the training a sentence looks to a checkpoint, and how well that tells two groups apart.

Shapes: t = scored tokens, b = sentences, w = vocabulary.

References:
    Detecting Pretraining Data from Large Language Models (Shi et al., 2024), arXiv:2310.16789: Min-K%.
    Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language Models (Zhang et al., 2025),
    arXiv:2404.02936.
"""

import zlib

from collections.abc import Sequence

import numpy as np
import torch

from jaxtyping import Float
from torch import Tensor

from space_cli.core.stats import RESAMPLES

LOWEST = 0.2
"""Share of the tokens that Min-K% looks at."""
FALSE_ALARMS = 0.01


def token_scores(logits: Float[Tensor, "t w"], labels: Tensor) -> tuple[Float[Tensor, " t"], Float[Tensor, " t"]]:
    """Return log p of each token, and the same in deviations of the checkpoint's own guess.

    The second is (log p - mean) / deviation, both over the vocabulary weighted by p.
    """
    likely = torch.log_softmax(logits.float(), dim=-1)
    picked = likely.gather(-1, labels[:, None])[:, 0]
    weight = likely.exp()
    # 0 · -inf is 0 here: a word that cannot come takes no part.
    safe = torch.where(weight > 0, likely, torch.zeros_like(likely))
    mean = (weight * safe).sum(-1)
    deviation = ((weight * safe.pow(2)).sum(-1) - mean.pow(2)).clamp(min=1e-12).sqrt()
    return picked, (picked - mean) / deviation


def lowest(values: Float[Tensor, " t"]) -> float:
    """Return the mean of the lowest fifth of the tokens, one at least."""
    count = max(1, int(LOWEST * len(values)))
    return float(values.sort().values[:count].mean())


def compressed(text: str) -> int:
    """Return the bytes that zlib needs for a text."""
    return len(zlib.compress(text.encode("utf-8")))


def placements(members: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return for each member the share of the others that score lower, ties as half; their mean is the ROC-AUC.

    Example:
        >>> placements([2.0, 0.5], [0.0, 1.0])
        [1.0, 0.5]
    """
    return [sum((other < member) + 0.5 * (other == member) for other in others) / len(others) for member in members]


def area_ends(members: Sequence[float], others: Sequence[float], sentences: int, *, seed: int) -> tuple[float, float]:
    """Return the ends of the 95 % percentile bootstrap interval of the ROC-AUC.

    Images of either side are drawn anew: with others out of another hat, the same members would be placed otherwise.

    Args:
        members: A score of each pair of a member's image and a sentence, the sentences of an image together.
        others: The same of the others.
        sentences: How many there are of each image.
        seed: Of the drawing.
    """
    one, other = (np.array(side, dtype=np.float64).reshape(-1, 1, sentences, 1) for side in (members, others))
    other = other.reshape(1, -1, 1, sentences)
    won = ((other < one) + 0.5 * (other == one)).mean((2, 3))  # [images of members, images of others]
    generator = np.random.default_rng(seed)
    drawn = [generator.multinomial(size, np.full(size, 1 / size), RESAMPLES) / size for size in won.shape]
    low, high = np.quantile(((drawn[0] @ won) * drawn[1]).sum(1), (0.025, 0.975))
    return float(low), float(high)


def at_few_alarms(members: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return 1 for each member above a threshold that at most 1 % of the others pass; their mean is the TPR.

    Example:
        >>> at_few_alarms([2.0, 0.5], [0.0, 1.0])
        [1.0, 0.0]
    """
    allowed = int(FALSE_ALARMS * len(others))
    threshold = sorted(others, reverse=True)[allowed]
    return [float(member > threshold) for member in members]
