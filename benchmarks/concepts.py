"""Which concepts of the bundled checkpoint are for tuning, and which nobody tunes on.

The test concepts are drawn by a seed, one from each of ten kinds; every setting was chosen on the others.
"""

import random

from space_cli.bundled.concepts import Drawn, drawn_concepts

SEED = 2606_09868
TESTS = 10
DEVELOPMENTS = 6


def test_concepts() -> list[Drawn]:
    """Return ten concepts of ten kinds, fixed by the seed."""
    rng = random.Random(SEED)
    kinds = sorted({concept.kind for concept in drawn_concepts()})
    return [rng.choice([c for c in drawn_concepts() if c.kind == kind]) for kind in rng.sample(kinds, TESTS)]


def development_concepts() -> list[Drawn]:
    """Return concepts to tune on: none is a test concept."""
    rng = random.Random(SEED + 1)
    kept = {concept.name for concept in test_concepts()}
    return rng.sample([c for c in drawn_concepts() if c.name not in kept], DEVELOPMENTS)
