"""How near the names of other things are to the concept, in the text space of the pool's encoder.

Shapes: m = the concept and the other names, d = embedding width.
"""

from collections.abc import Sequence

import numpy as np

from jaxtyping import Float

from space_cli.core.protocols import Encoder
from space_cli.core.selection import TEMPLATES


def nearest_first(names: Sequence[str], embeddings: Float[np.ndarray, "m d"]) -> list[str]:
    """Sort names by their similarity to the concept, the nearest first.

    Args:
        names: Every other name.
        embeddings: Unit rows: the concept's own, then one a name, as `text_embeddings` gives them.
    """
    return [names[row] for row in np.argsort(-(embeddings[1:] @ embeddings[0]), kind="stable")]


def text_embeddings(encoder: Encoder, phrases: Sequence[str]) -> Float[np.ndarray, "m d"]:
    """Return the mean embedding of each phrase over several sentences, as a unit row in float64."""
    texts = [template.format(phrase) for phrase in phrases for template in TEMPLATES]
    embedded = np.asarray(encoder.texts(texts).cpu(), dtype=np.float64)
    means = embedded.reshape(len(phrases), len(TEMPLATES), -1).mean(axis=1)
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit
