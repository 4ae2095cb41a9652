"""Does the checkpoint know the concept at all? Told from its own likelihoods, without an image of the concept."""

import random
import statistics

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

from space_cli.core.answer_form import AnswerForm
from space_cli.core.hardening import Hardening, harden
from space_cli.core.naming import Naming
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept, spoken_alike

SCRAMBLED = 3
"""Names that mean nothing. One of them is now and then a word, or made of the answer's own tokens, so that a push gets
far: "roa" of "oar" reaches -4 nats where others stay at -12. The median is not moved by one."""
ENOUGH = 100
"""Draws after which orders of letters may come twice: a short name has few."""


@dataclass(frozen=True)
class Familiarity:
    """How far a push towards the name gets, beside the same push towards names that mean nothing."""

    reached: float  # nats per token of log p(name), its article given, after the push, best quarter of the images
    nonsense: float  # the same for scrambled names, the median of them


def familiarity(
    responder: Responder, concept: Concept, forms: dict[str, AnswerForm], features: Tensor, seed: int
) -> Familiarity:
    """Push some images towards the name, and towards scrambled names of the same length in its place in a sentence.

    Args:
        responder: The unedited checkpoint.
        concept: What to forget.
        forms: The checkpoint's wording.
        features: Visual features [n, p, v] of pool images near the concept.
        seed: Scrambles the name and draws the noise.
    """
    rng = random.Random(seed)
    own = _reached(responder, concept, forms, features, seed)
    others = [
        _reached(responder, Concept(name=name, phrase=spoken_alike(concept, name)), forms, features, seed)
        for name in scrambled(concept.name, SCRAMBLED, rng)
    ]
    return Familiarity(own, statistics.median(others))


def scrambled(name: str, count: int, rng: random.Random) -> Sequence[str]:
    """Return permutations of a name's letters, words kept apart.

    None is the name itself, unless all its letters are the same, and none comes twice while there are others.
    """
    words = name.split()
    alike = all(len(set(word)) == 1 for word in words)
    found: list[str] = []
    draws = 0
    while len(found) < count:
        draws += 1
        made = " ".join("".join(rng.sample(word, len(word))) for word in words)
        # A short name comes back as itself often enough to pass for one that nobody can know.
        if alike or (made != " ".join(words) and (made not in found or draws > ENOUGH)):
            found.append(made)
    return found


def _reached(
    responder: Responder, concept: Concept, forms: dict[str, AnswerForm], features: Tensor, seed: int
) -> float:
    naming = Naming(responder, concept, forms, seed)
    options = Hardening(dropout=0.0, noise=0.0)  # as many steps as erasing begins with: fewer leave known names out
    pushed = harden(naming.objective, features, options, torch.Generator().manual_seed(seed))
    reached = naming.bare(pushed).sort(descending=True).values
    return float(reached[: max(1, len(reached) // 4)].mean())
