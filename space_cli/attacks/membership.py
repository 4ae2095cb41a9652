"""Membership proxy: do likelihoods of the sentence that names the concept tell its own pictures from others?

Members are images of the concept, the others are images of its nearest names, and every image is scored with the same
sentences naming the concept. Whether any image was trained on is not known for a pre-trained checkpoint, so this is a
proxy and no attack accuracy. A ROC-AUC of 0.5 tells nothing; far below 0.5 betrays the concept as much as far above, so
that the score is the larger of it and of what is left to 1. GradNorm is the norm of the gradient on the image's
features, where the published one is on the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.asking import spread
from space_cli.core.attacking import concept_of, forms, mean, nonsense_of, nothing
from space_cli.core.losses import answer_log_likelihood, next_labels, split
from space_cli.core.membership import area_ends, at_few_alarms, compressed, lowest, placements, token_scores
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.records import ScoreRecord
from space_cli.core.scaling import LossScale
from space_cli.core.stats import score, wilson
from space_cli.core.types import Probe, ProbeImage, Prompt

NEEDS = frozenset({"forget", "retain"})
BY_NEARNESS = True
"""It takes the names nearest to the concept, or those farthest from it."""
MEASURES = ("loss", "zlib", "min_k", "min_k_plus", "grad_norm")
TPR = "_tpr"
"""After the name of a score: the true positive rate at 1 % false positives, in the direction of the ROC-AUC."""
PARTS = (*MEASURES, *(f"{measure}{TPR}" for measure in MEASURES))
CHANCE = 0.5
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
    images: int  # of the members

    def area(self, measure: str) -> float:
        """Return the ROC-AUC as it is, below 0.5 where members score lower."""
        return mean(placements(self.members[measure], self.others[measure])) or 0.0

    def told_apart(self, measure: str) -> "_Apart":
        """Return what either kind of score is the mean of, turned round where members score lower."""
        sign = 1 if self.area(measure) >= CHANCE else -1
        members, others = ([sign * value for value in side[measure]] for side in (self.members, self.others))
        return _Apart(placements(members, others), at_few_alarms(members, others), members, others)


@dataclass(frozen=True)
class _Apart:
    """By pair of a member: the share of others that score lower, and whether it is told at few false alarms."""

    placed: list[float]
    told: list[float]
    members: list[float]
    others: list[float]

    def widened(self, record: ScoreRecord, images: int, seed: int) -> ScoreRecord:
        """Return the record of `placed` with an interval that holds the chance in the others, too."""
        sentences = len(self.members) // images
        ends = (
            (record.low or 0.0, record.high or 0.0),
            area_ends(self.members, self.others, sentences, seed=seed),
            wilson(record.after or 0.0, min(images, len(self.others) // sentences)),
        )
        return record.model_copy(update={"low": min(low for low, _ in ends), "high": max(high for _, high in ends)})


def attack(before: Responder, after: Responder, probe: Probe, options: Options) -> dict[str, ScoreRecord]:
    """Score every pair of image and sentence; the control's sentences hold a scrambled name."""
    own = [one.image for one in probe.forget[: options.images]]
    near, far = _others(probe, options.images)
    others = [one.image for one in (*near, *far)]
    if not own or not others:
        return {part: nothing("needs images of the concept and of others") for part in PARTS}
    wording = forms(before, probe, AUDIT_OPEN[: options.questions])

    def told(responder: Responder, concept: Concept) -> _Told:
        prompts = [
            Prompt(question, f"{form.lead} {form.around(name, spoken)}".strip())
            for question, form in wording.items()
            for name, spoken in _sentences(concept, options.aliases)
        ]
        return _Told(_scores(responder, own, prompts), _scores(responder, others, prompts), len(own))

    old, new = (told(responder, concept_of(probe)) for responder in (before, after))
    control = told(after, nonsense_of(probe))
    beside = f"{len(near)} of its nearest names" + (f" and, for want of more, {len(far)} of other ones" if far else "")
    what = f"{len(own)} images of the concept against {beside}"
    records = [_records(measure, (old, new, control), what, probe) for measure in MEASURES]
    return {name: record for one in records for name, record in one.items()}


def _others(probe: Probe, count: int) -> tuple[list[ProbeImage], list[ProbeImage]]:
    """Return images of the nearest names, and of the next nearest ones where those are too few."""
    near = spread(probe.near, count)
    places = {name: place for place, name in enumerate(probe.names)}
    rest = sorted(probe.far, key=lambda one: places.get(one.name, len(places)))
    return near, spread(rest, count - len(near))


def _sentences(concept: Concept, limit: int) -> list[tuple[str, str]]:
    others = [name for name in concept.names if name != concept.name]
    return [(concept.name, concept.spoken), *((name, Concept(name=name).spoken) for name in others)][:limit]


def _records(measure: str, found: tuple[_Told, _Told, _Told], what: str, probe: Probe) -> dict[str, ScoreRecord]:
    """Return the score of a measure and its true positive rate; `found` is before, after and control."""
    areas = [one.area(measure) for one in found]
    old, new, control = (one.told_apart(measure) for one in found)
    note = (
        f"membership proxy: {what}, same sentences; ROC-AUC {areas[0]:.2f} → {areas[1]:.2f} (control {areas[2]:.2f}), "
        f"proximity to 0.5 {max(0.0, 1 - 2 * abs(areas[1] - CHANCE)):.2f}; TPR at 1 % FPR {mean(old.told) or 0:.2f} → "
        f"{mean(new.told) or 0:.2f}; control: a scrambled name"
    )

    def record(before: list[float], after: list[float], beside: list[float], told: str) -> ScoreRecord:
        groups = [row * found[1].images // len(after) for row in range(len(after))]
        return score(before, after, better="lower", groups=groups, seed=probe.seed, control=mean(beside), note=told)

    placed = record(old.placed, new.placed, control.placed, f"max(AUC, 1 - AUC); {note}")
    return {
        measure: _folded(new.widened(placed, found[1].images, probe.seed)),
        f"{measure}{TPR}": record(old.told, new.told, control.told, f"TPR at 1 % FPR; {note}"),
    }


def _folded(record: ScoreRecord) -> ScoreRecord:
    """Return a score whose interval ends at chance, below which it cannot be."""
    if record.low is None or record.high is None or record.low >= CHANCE:
        return record
    return record.model_copy(update={"low": CHANCE, "high": max(record.high, 1 - record.low)})


def _scores(responder: Responder, images: Sequence[Image], prompts: Sequence[Prompt]) -> dict[str, list[float]]:
    """Return each score of each pair; the sentences of one image stand together."""
    features = responder.features(images)
    pairs = [Prompt(p.question, p.answer, row) for row in range(len(images)) for p in prompts]
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for start in range(0, len(pairs), BLOCK):
        _add(found, responder, pairs[start : start + BLOCK], features)
    return found


def _add(found: dict[str, list[float]], responder: Responder, pairs: Sequence[Prompt], features: Tensor) -> None:
    batch = responder.batch(pairs)
    assert batch.images is not None, "every pair has an image"
    own = features[batch.images.to(features.device)].detach().requires_grad_(True)
    rows = responder.batch([Prompt(p.question, p.answer, place) for place, p in enumerate(pairs)])
    logits = responder.answer_logits(rows, own)
    gradient = LossScale().gradient(-answer_log_likelihood(logits, rows).sum(), own)
    told = zip(split(logits.detach(), rows), split(next_labels(rows), rows), strict=True)
    for row, (pair, (given, labels)) in enumerate(zip(pairs, told, strict=True)):
        likely, unusual = token_scores(given, labels)
        loss = float(likely.mean())
        found["loss"].append(loss)
        found["zlib"].append(loss / compressed(pair.answer))
        found["min_k"].append(lowest(likely))
        found["min_k_plus"].append(lowest(unusual))
        found["grad_norm"].append(-float(gradient[row].norm()))
