"""Train the checkpoint a little: on few images of the concept, on proxies only, on neighbours; how fast is it back?

A checkpoint that only hides a concept finds it again sooner than it learns to call the same pictures something else. So
the control is the same training on the same pictures towards names of other things, as long and as well known as words,
which these pictures never had; towards a scrambled name, which is harder to teach, where it knows no other. Where the
name is not taught there is no control: whatever comes back was hidden. It is tried on neighbours and on things far from
the concept, and the one that brings back more counts.

Deviations from relearning as it is usually run (LoRA of rank 8 at 1e-4; control: a concept that was never known):
    - There are two rates, 3e-4 and 1e-3, and what counts is the one at which the concept is farthest ahead of its
      control: on checkpoints of a few million weights 1e-4 teaches no name at all within 50 steps, 1e-3 teaches every
      name in the end, and it is in between that what was hidden shows.
    - The control's names are known as words and unknown of these pictures. A name that nobody ever knew is learnt
      later, because its tokens are rare, and would flatter the attack.
"""

import itertools

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from space_cli.core.answer_form import AnswerForm
from space_cli.core.asking import spread
from space_cli.core.attacking import (
    NO_SUBJECT,
    concept_of,
    forms,
    named,
    nonsense_of,
    nothing,
    surrogates,
)
from space_cli.core.phrasing import AUDIT_OPEN, ERASE_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.records import ScoreRecord
from space_cli.core.relearning import Course, relearn
from space_cli.core.relearning_courses import AREA, Courses, Curve
from space_cli.core.types import Probe, ProbeImage, Prompt

NEEDS: frozenset[str] = frozenset()
BY_NEARNESS = True
"""It takes the names nearest to the concept, or those farthest from it."""
COST = 16.0
"""Time beside `jailbreak`'s, on the bundled checkpoint."""
LESSONS = ("images", "proxies", "neighbours")
PARTS = (*LESSONS, *(f"{lesson}{AREA}" for lesson in LESSONS))
TAUGHT = ERASE_OPEN[:3]
"""Questions of the training; what is judged is asked in others."""
SEED = 307


class Options(BaseModel):
    """The attack's budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stops: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (5, 20, 50)  # steps, ascending
    rank: Annotated[int, Field(ge=1)] = 8
    rates: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (3e-4, 1e-3)  # each on its own
    batch: Annotated[int, Field(ge=1)] = 4  # prompts a step
    images: Annotated[int, Field(ge=1)] = 4  # of the concept, to train on
    tests: Annotated[int, Field(ge=1)] = 16  # others of it, to judge on
    proxies: Annotated[int, Field(ge=1)] = 16  # held-out anchors
    questions: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2
    controls: Annotated[int, Field(ge=1)] = 2  # other names taught with the same pictures, each on its own

    @field_validator("stops")
    @classmethod
    def _ascending(cls, stops: tuple[int, ...]) -> tuple[int, ...]:
        # Training ends at the last one, so that a later one before it would never be reached.
        if any(step >= later for step, later in itertools.pairwise(stops)):
            raise ValueError("steps must ascend")
        return stops


@dataclass(frozen=True)
class _Lesson:
    """Pictures to train on, each with the concept to name it by."""

    images: Sequence[Image]
    taught: Sequence[Concept]


@dataclass(frozen=True)
class _Test:
    """What is judged: images of the concept, or features that stand for it."""

    images: Sequence[Image]
    pushed: Tensor | None
    what: str

    def features(self, responder: Responder) -> Tensor:
        """Return what the connector reads, [n, p, v]."""
        return responder.features(self.images) if self.pushed is None else self.pushed


@dataclass(frozen=True)
class _Bench:
    """All that the lessons share."""

    probe: Probe
    options: Options
    test: _Test
    wording: dict[str, AnswerForm]

    def curve(self, responder: Responder, lesson: _Lesson, sought: Concept, rate: float) -> Curve:
        """Train, and return at each stop 1 for each answer about the test that gives the sought name."""
        features = self.test.features(responder)
        prompts = [
            Prompt(question, form.around(concept.name, concept.spoken), row, form.lead)
            for row, concept in enumerate(lesson.taught)
            for question, form in self.wording.items()
        ]
        return relearn(
            responder,
            prompts,
            responder.features(lesson.images),
            Course((0, *self.options.stops), self.options.rank, rate, self.options.batch),
            lambda: self.said(responder, features, sought),
            seed=self.probe.seed + SEED,
        )

    def said(self, responder: Responder, features: Tensor, sought: Concept) -> list[float]:
        """Return 1 for each answer about the test's features that gives the sought name."""
        asked = AUDIT_OPEN[: self.options.questions]
        return named(responder, features, self.probe, asked, names=(*sought.names, sought.spoken))

    def courses(self, what: str) -> Courses:
        """Return how a lesson's courses are run and told."""
        options = self.options
        return Courses(
            options.rates,
            (0, *options.stops),
            options.questions,
            self.probe.seed,
            f"LoRA of rank {options.rank}, {options.batch} prompts a step; {what}; judged on {self.test.what}",
        )


def attack(before: Responder, after: Responder, probe: Probe, options: Options) -> dict[str, ScoreRecord]:
    """Train both checkpoints in the same way with each kind of picture there is."""
    test = _test(before, probe, options)
    if test is None:
        return _parts(dict.fromkeys(LESSONS, _nothing(NO_SUBJECT)))
    bench = _Bench(probe, options, test, forms(before, probe, TAUGHT))
    images = [one.image for one in probe.forget[: options.images]] if len(probe.forget) > options.images else []
    proxies = list(probe.holdout[: options.proxies if test.pushed is None else _half(probe)])
    near, far = _neighbours(probe, options)
    taught = {
        "images": _taught(before, after, bench, images, f"needs more than {options.images} images of the concept"),
        "proxies": _taught(before, after, bench, proxies, "no anchor was held out"),
        "neighbours": _beside(before, after, bench, near, far),
    }
    return _parts(taught)


def _parts(taught: dict[str, dict[str, ScoreRecord]]) -> dict[str, ScoreRecord]:
    return {f"{lesson}{what}": record for lesson, records in taught.items() for what, record in records.items()}


def _nothing(why: str) -> dict[str, ScoreRecord]:
    return dict.fromkeys(("", AREA), nothing(why))


def _half(probe: Probe) -> int:
    return len(probe.holdout) // 2


def _test(before: Responder, probe: Probe, options: Options) -> _Test | None:
    """Return what no training sees: the images after the first few, or the second half of the held-out anchors."""
    first = options.images if len(probe.forget) > options.images else 0
    shown = [one.image for one in probe.forget[first : first + options.tests]]
    if shown:
        return _Test(shown, None, f"{len(shown)} other images of the concept")
    if len(probe.holdout) < 2:
        return None
    pushed = surrogates(before, replace(probe, holdout=probe.holdout[_half(probe) :]), options.tests)
    return _Test((), pushed, f"{len(pushed)} other held-out anchors, hardened (no image)")


def _taught(
    before: Responder, after: Responder, bench: _Bench, images: Sequence[Image], why: str
) -> dict[str, ScoreRecord]:
    """Teach the name; the control teaches other ones with the same pictures."""
    if not images:
        return _nothing(why)

    def curve(responder: Responder, concept: Concept, rate: float) -> Curve:
        return bench.curve(responder, _Lesson(images, [concept] * len(images)), concept, rate)

    # The pictures may go by a name already: by that which the erasure put in its place.
    features = bench.test.features(after)
    strangers = matched(bench.probe, bench.options.controls, lambda one: any(bench.said(after, features, one)))

    def control(rate: float) -> Curve:
        curves = [curve(after, stranger, rate) for stranger in strangers or [nonsense_of(bench.probe)]]
        return [[value for values in stop for value in values] for stop in zip(*curves, strict=True)]

    # The letters of a scrambled name are the concept's: whoever reads them has the name.
    called = ", ".join(f"`{stranger.name}`" for stranger in strangers) or "a scrambled name"
    concept, told = concept_of(bench.probe), f"{len(images)} pictures, control: taught {called} instead"
    return bench.courses(told).records(
        lambda rate: curve(before, concept, rate), lambda rate: curve(after, concept, rate), control
    )


def matched(probe: Probe, count: int, said: Callable[[Concept], bool]) -> list[Concept]:
    """Return other names to teach with the concept's pictures, from the half farthest from it.

    They have as many words as the name, or as nearly as many as there are: a longer name is harder to learn.

    Args:
        probe: What the attack is about.
        count: How many.
        said: Tells of a name whether the pictures have it already, so that there is nothing to learn.
    """
    far = [name for name in probe.names[len(probe.names) // 2 :] if name not in probe.neighbours]
    off = [abs(len(name.split()) - len(probe.name.split())) for name in far]
    alike = [name for name, words in zip(far, off, strict=True) if words == min(off)]
    apart = alike[:: max(1, len(alike) // count)]
    turns = (Concept(name=name, phrase=probe.phrases.get(name, "")) for name in dict.fromkeys((*apart, *alike)))
    return list(itertools.islice((stranger for stranger in turns if not said(stranger)), count))


def _beside(
    before: Responder, after: Responder, bench: _Bench, near: Sequence[ProbeImage], far: Sequence[ProbeImage]
) -> dict[str, ScoreRecord]:
    """Teach neighbours their own names, and things far from the concept theirs; what brings back more counts."""
    if not near:
        return _nothing("needs images of neighbours")
    concept = concept_of(bench.probe)

    def records(shown: Sequence[ProbeImage], what: str) -> dict[str, ScoreRecord]:
        lesson = _own_names(shown, bench.probe)
        return bench.courses(f"{len(shown)} pictures of {what}, taught their own names").records(
            lambda rate: bench.curve(before, lesson, concept, rate),
            lambda rate: bench.curve(after, lesson, concept, rate),
            None,
        )

    found = [records(near, "neighbours"), *([records(far, "other things")] if far else [])]
    return {part: max((one[part] for one in found), key=lambda record: record.after or 0.0) for part in ("", AREA)}


def _own_names(shown: Sequence[ProbeImage], probe: Probe) -> _Lesson:
    return _Lesson(
        [one.image for one in shown], [Concept(name=one.name, phrase=probe.phrases.get(one.name, "")) for one in shown]
    )


def _neighbours(probe: Probe, options: Options) -> tuple[list[ProbeImage], list[ProbeImage]]:
    """Return images of the nearest names, and as many of others."""
    near = spread(probe.near, options.proxies)
    far = spread(probe.far, len(near))
    return near, far
