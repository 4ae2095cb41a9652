"""Share of held-out anchors that a fresh, longer hardening attack still makes name the concept.

The auditor runs the eraser's own weapon with new seeds, twice the steps and questions it never trained on. The same
attack on concepts that nobody erased shows what it reaches where there is something to find.
"""

from collections.abc import Sequence
from typing import Annotated

import torch

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.answer_form import AnswerForm, answer_form
from space_cli.core.hardening import Hardening, harden
from space_cli.core.matching import mentions
from space_cli.core.naming import Naming
from space_cli.core.phrasing import AUDIT_OPEN, ERASE_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"holdout", "general"})
BY_NEARNESS = True
"""It takes the names nearest to the concept, or those farthest from it."""
FORM_IMAGES = 48
"""General images whose answers show how the checkpoint words a name."""


class Options(BaseModel):
    """The attack's budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Annotated[int, Field(ge=1)] = 48  # twice the eraser's
    radius: Annotated[float, Field(gt=0)] = 0.9  # of the mean token norm, the eraser's own
    questions: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2
    controls: Annotated[int, Field(ge=0)] = 2


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Attack both checkpoints; the control is the attack's success after erasing, on other names."""
    concept = Concept(name=probe.name, aliases=probe.aliases, phrase=probe.phrase)
    old, _ = _attacked(before, concept, probe, options)
    new, reached = _attacked(after, concept, probe, options)
    controls = [
        _attacked(after, Concept(name=name, phrase=probe.phrases.get(name, "")), probe, options)[0]
        for name in probe.names[: options.controls]
    ]
    flat = [hit for hits in controls for hit in hits]
    groups = [row // options.questions for row in range(len(new))]
    note = f"{options.steps} steps within {options.radius} of the token norm; log p reached {reached:.2f} nats a token"
    control = sum(flat) / len(flat) if flat else None
    found = score(old, new, better="lower", groups=groups, seed=probe.seed, note=note)
    return found.model_copy(update={"control": control})


def _attacked(responder: Responder, concept: Concept, probe: Probe, options: Options) -> tuple[list[float], float]:
    """Return 1 or 0 for each held-out image and question, and the log p that the attack reached."""
    features = responder.features(probe.holdout)
    naming = Naming(responder, concept, _forms(responder, probe), probe.seed + 1)
    generator = torch.Generator().manual_seed(probe.seed + 1)
    budget = Hardening(steps=options.steps, radius=options.radius)
    pushed = harden(naming.objective, features, budget, generator)
    hits = _named(responder, pushed, concept, probe, AUDIT_OPEN[: options.questions])
    return hits, float(naming.activation(pushed).mean())


def _named(
    responder: Responder, features: Tensor, concept: Concept, probe: Probe, questions: Sequence[str]
) -> list[float]:
    rows = [row for row in range(len(features)) for _ in questions]
    answers = responder.answer_features(features, list(questions) * len(features), about=rows)
    # The control's name is among the others.
    others = [name for name in probe.names if name not in concept.names]
    return [float(mentions(answer, (*concept.names, concept.spoken), others=others)) for answer in answers]


def _forms(responder: Responder, probe: Probe) -> dict[str, AnswerForm]:
    images = list(probe.general[:FORM_IMAGES])
    features = responder.features(images)
    return {q: answer_form(responder.answer_features(features, [q] * len(images))) for q in ERASE_OPEN}
