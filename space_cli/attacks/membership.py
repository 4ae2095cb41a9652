"""Membership proxy: do likelihoods of the sentence that names the concept tell its own pictures from others?

Members are images of the concept, the others are images of its nearest names, and every image is scored with the same
sentences naming the concept. Whether any image was trained on is not known for a pre-trained checkpoint, so this is a
proxy and no attack accuracy. 0.5 tells nothing; far below 0.5 betrays the concept as much as far above.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.asking import spread
from space_cli.core.attacking import concept_of, forms, mean, nonsense_of, nothing
from space_cli.core.losses import answer_log_likelihood, next_labels, split
from space_cli.core.membership import compressed, lowest, placements, rate_at_few_alarms, token_scores
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe, Prompt

NEEDS = frozenset({"forget", "retain"})
PARTS = ("loss", "zlib", "min_k", "min_k_plus", "grad_norm")
BLOCK = 8
"""Prompts at once: their full logits are 0.3 GB in LLaVA-1.5."""


class Options(BaseModel):
    """How much is scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=1)] = 24  # of the concept, and as many of others
    questions: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2
    aliases: Annotated[int, Field(ge=1)] = 2  # names at most, each a sentence


@dataclass(frozen=True)
class _Told:
    """Every score of the members' pairs of image and sentence, and of the others'."""

    members: dict[str, list[float]]
    others: dict[str, list[float]]

    def placed(self, part: str) -> list[float]:
        return placements(self.members[part], self.others[part])


def attack(before: Responder, after: Responder, probe: Probe, options: Options) -> dict[str, ScoreRecord]:
    """Score every pair of image and sentence; the control's sentences hold a scrambled name."""
    own = [one.image for one in probe.forget[: options.images]]
    others = [one.image for one in spread(probe.retain, options.images)]
    if not own or not others:
        return {part: nothing("needs images of the concept and of others") for part in PARTS}
    wording = forms(before, probe, AUDIT_OPEN[: options.questions])

    def told(responder: Responder, concept: Concept) -> _Told:
        prompts = [
            Prompt(question, f"{form.lead} {form.around(name, spoken)}".strip())
            for question, form in wording.items()
            for name, spoken in _sentences(concept, options.aliases)
        ]
        return _Told(*(_scores(responder, images, prompts) for images in (own, others)))

    old, new = (told(responder, concept_of(probe)) for responder in (before, after))
    control = told(after, nonsense_of(probe))
    return {part: _record(part, old, new, control, len(own), probe) for part in PARTS}


def _sentences(concept: Concept, limit: int) -> list[tuple[str, str]]:
    others = [name for name in concept.names if name != concept.name]
    return [(concept.name, concept.spoken), *((name, Concept(name=name).spoken) for name in others)][:limit]


def _record(part: str, old: _Told, new: _Told, control: _Told, images: int, probe: Probe) -> ScoreRecord:
    found = new.placed(part)
    area = mean(found) or 0.0
    proximity = max(0.0, 1 - 2 * abs(area - 0.5))
    return score(
        old.placed(part),
        found,
        better="lower",
        groups=[row * images // len(found) for row in range(len(found))],
        seed=probe.seed,
        control=mean(control.placed(part)),
        note=f"membership proxy: ROC-AUC of {images} images of the concept against others, same sentences; TPR at 1 % "
        f"FPR {rate_at_few_alarms(old.members[part], old.others[part]):.2f} → "
        f"{rate_at_few_alarms(new.members[part], new.others[part]):.2f}, proximity to 0.5 {proximity:.2f}; control: a "
        "scrambled name",
    )


def _scores(responder: Responder, images: Sequence[Image], prompts: Sequence[Prompt]) -> dict[str, list[float]]:
    """Return each score of each pair; the sentences of one image stand together."""
    features = responder.features(images)
    pairs = [Prompt(p.question, p.answer, row) for row in range(len(images)) for p in prompts]
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    for start in range(0, len(pairs), BLOCK):
        _add(found, responder, pairs[start : start + BLOCK], features)
    return found


def _add(found: dict[str, list[float]], responder: Responder, pairs: Sequence[Prompt], features: Tensor) -> None:
    batch = responder.batch(pairs)
    assert batch.images is not None, "every pair has an image"
    own = features[batch.images.to(features.device)].detach().requires_grad_(True)
    rows = responder.batch([Prompt(p.question, p.answer, place) for place, p in enumerate(pairs)])
    logits = responder.answer_logits(rows, own)
    (gradient,) = torch.autograd.grad(
        -answer_log_likelihood(logits, rows).sum(), own, allow_unused=True, materialize_grads=True
    )
    told = zip(split(logits.detach(), rows), split(next_labels(rows), rows), strict=True)
    for row, (pair, (given, labels)) in enumerate(zip(pairs, told, strict=True)):
        likely, unusual = token_scores(given, labels)
        loss = float(likely.mean())
        found["loss"].append(loss)
        found["zlib"].append(loss / compressed(pair.answer))
        found["min_k"].append(lowest(likely))
        found["min_k_plus"].append(lowest(unusual))
        found["grad_norm"].append(-float(gradient[row].norm()))
