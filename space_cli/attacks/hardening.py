"""Push held-out anchors towards the name: fresh seeds, twice the steps, several radii, questions never used.

`elicitation` repeats the erasure's own attack with twice its budget. This one varies what an erasure may have fitted:
the push is made with audit questions and judged with others, against the weights as they are in the end, and is longer
than any push of the erasure.
"""

from dataclasses import dataclass
from typing import Annotated

import torch

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.attacking import (
    any_parts,
    concept_of,
    forms,
    mean,
    named,
    nonsense_of,
    plainly,
    with_unattacked,
)
from space_cli.core.hardening import Hardening, harden
from space_cli.core.naming import Naming
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"holdout"})
COST = 4.0
"""Time beside `jailbreak`'s, on the bundled checkpoint."""
PUSHED, JUDGED = AUDIT_OPEN[:3], AUDIT_OPEN[3:]
SEED = 211
"""Added to the audit's own seed, so that no noise is that of the erasure or of `elicitation`."""


class Options(BaseModel):
    """The attack's budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Annotated[int, Field(ge=1)] = 72  # twice the eraser's longest
    # Of the mean token norm; the eraser has the last two.
    radii: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.5, 0.9, 1.3)
    images: Annotated[int, Field(ge=1)] = 16  # held-out anchors


@dataclass(frozen=True)
class _Push:
    """What one checkpoint gives under every radius, by image."""

    hits: list[list[float]]  # one list a radius, the questions of one image together
    reached: list[float]  # nats per token, by radius


def attack(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Push both checkpoints; the control is the same push towards a scrambled name, which nobody can know."""
    concept = concept_of(probe)
    old, new = (_pushed(responder, concept, probe, options) for responder in (before, after))
    control = _pushed(after, nonsense_of(probe), probe, options)
    told = [
        f"radius {radius:g}: {mean(first) or 0:.2f} → {mean(second) or 0:.2f}, log p {reached:.2f}"
        for radius, first, second, reached in zip(options.radii, old.hits, new.hits, new.reached, strict=True)
    ]
    images = min(options.images, len(probe.holdout))
    was, now, there = (_by_image(push) for push in (old, new, control))
    tries = len(options.radii) * len(JUDGED)  # at one image
    record = score(
        was,
        now,
        better="lower",
        groups=[row // tries for row in range(len(now))],
        seed=probe.seed,
        control=mean(there),
        note=f"{options.steps} steps on {images} held-out anchors, pushed with {len(PUSHED)} questions and judged with "
        f"{len(JUDGED)} others; {', '.join(told)} nats a token; control: a scrambled name",
    )
    # Whoever attacks needs one radius that works.
    parts = any_parts(now, there, tries)
    features = after.features(list(probe.holdout[: options.images]))
    return with_unattacked(record.model_copy(update={"parts": parts}), plainly(after, features, probe))


def _by_image(push: _Push) -> list[float]:
    """Return what one checkpoint gives, all radii of one image together."""
    size = len(JUDGED)
    rows = range(0, len(push.hits[0]), size)
    return [value for row in rows for one in push.hits for value in one[row : row + size]]


def _pushed(responder: Responder, concept: Concept, probe: Probe, options: Options) -> _Push:
    features = responder.features(list(probe.holdout[: options.images]))
    wording = forms(responder, probe, PUSHED)
    found = _Push([], [])
    for place, radius in enumerate(options.radii):
        seed = probe.seed + SEED + place
        naming = Naming(responder, concept, wording, seed)
        budget = Hardening(steps=options.steps, radius=radius)
        moved = harden(naming.objective, features, budget, torch.Generator().manual_seed(seed))
        found.hits.append(
            named(responder, moved, probe, JUDGED, names=(concept.name, concept.spoken, *concept.aliases))
        )
        found.reached.append(float(naming.activation(moved).mean()))
    return found
