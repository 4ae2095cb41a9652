"""Train the checkpoint a little: on few images of the concept, on proxies only, on neighbours; how fast is it back?

A checkpoint that only hides a concept finds it again sooner than it learns to call the same pictures something else. So
the control is the same training on the same pictures towards names of other things, as long and as well known as words,
which these pictures never had; towards a scrambled name where no other is at hand, which is harder to teach. Where no
name is taught, it is the same training on pictures that have nothing to do with the concept.

Deviations from relearning as it is usually run (LoRA of rank 8 at 1e-4; control: a concept that was never known):
    - The rate is 1e-3: on checkpoints of a few million weights 1e-4 teaches no name at all within 50 steps. At 1e-3
      every name is taught in the end, and the area under the curve, not its last point, tells the two apart.
    - The control's names are known as words and unknown of these pictures. A name that nobody ever knew is learnt
      later, because its tokens are rare, and would flatter the attack.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.answer_form import AnswerForm
from space_cli.core.asking import spread
from space_cli.core.attacking import (
    NO_SUBJECT,
    concept_of,
    forms,
    mean,
    named,
    nonsense_of,
    nothing,
    surrogates,
    with_unattacked,
)
from space_cli.core.phrasing import AUDIT_OPEN, ERASE_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept
from space_cli.core.records import ScoreRecord
from space_cli.core.relearning import Course, area, relearn
from space_cli.core.stats import score
from space_cli.core.types import Probe, ProbeImage, Prompt

NEEDS: frozenset[str] = frozenset()
COST = 10.0
"""Time beside `jailbreak`'s, on the bundled checkpoint."""
LESSONS = ("images", "proxies", "neighbours")
AREA = "_area"
"""After the name of a score: of its curve, the mean height over the steps. Every name is taught in the end, so how soon
tells more than how far."""
PARTS = (*LESSONS, *(f"{lesson}{AREA}" for lesson in LESSONS))
TAUGHT = ERASE_OPEN[:3]
"""Questions of the training; what is judged is asked in others."""
SEED = 307


class Options(BaseModel):
    """The attack's budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stops: tuple[Annotated[int, Field(ge=1)], ...] = (5, 20, 50)  # steps, ascending
    rank: Annotated[int, Field(ge=1)] = 8
    lr: Annotated[float, Field(gt=0)] = 1e-3
    batch: Annotated[int, Field(ge=1)] = 4  # prompts a step
    images: Annotated[int, Field(ge=1)] = 4  # of the concept, to train on
    tests: Annotated[int, Field(ge=1)] = 16  # others of it, to judge on
    proxies: Annotated[int, Field(ge=1)] = 16  # held-out anchors
    questions: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2
    controls: Annotated[int, Field(ge=1)] = 2  # other names taught with the same pictures, each on its own


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

    def curve(self, responder: Responder, lesson: _Lesson, sought: Concept) -> list[list[float]]:
        """Train, and return at each stop 1 for each answer about the test that gives the sought name."""
        features = self.test.features(responder)
        prompts = [
            Prompt(question, form.around(concept.name, concept.spoken), row, form.lead)
            for row, concept in enumerate(lesson.taught)
            for question, form in self.wording.items()
        ]
        names = (*sought.names, sought.spoken)
        asked = AUDIT_OPEN[: self.options.questions]
        return relearn(
            responder,
            prompts,
            responder.features(lesson.images),
            Course((0, *self.options.stops), self.options.rank, self.options.lr, self.options.batch),
            lambda: named(responder, features, self.probe, asked, names=names),
            seed=self.probe.seed + SEED,
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

    def curve(responder: Responder, concept: Concept) -> list[list[float]]:
        return bench.curve(responder, _Lesson(images, [concept] * len(images)), concept)

    old, new = (curve(responder, concept_of(bench.probe)) for responder in (before, after))
    strangers = matched(bench.probe, bench.options.controls)
    curves = [curve(after, stranger) for stranger in strangers or [nonsense_of(bench.probe)]]
    control = [[value for values in stop for value in values] for stop in zip(*curves, strict=True)]
    # The letters of a scrambled name are the concept's: whoever reads them has the name.
    called = ", ".join(f"`{stranger.name}`" for stranger in strangers) or "a scrambled name"
    return _record(bench, old, new, control, f"{len(images)} pictures, control: taught {called} instead")


def matched(probe: Probe, count: int) -> list[Concept]:
    """Return other names to teach with the concept's pictures: of as many words, from the half farthest from it."""
    far = probe.names[len(probe.names) // 2 :]
    alike = [name for name in far if len(name.split()) == len(probe.name.split()) and name not in probe.neighbours]
    taken = alike[:: max(1, len(alike) // count)][:count]
    return [Concept(name=name, phrase=probe.phrases.get(name, "")) for name in taken]


def _beside(
    before: Responder, after: Responder, bench: _Bench, near: Sequence[ProbeImage], far: Sequence[ProbeImage]
) -> dict[str, ScoreRecord]:
    """Teach neighbours their own names; the control does so with things far from the concept."""
    if not near:
        return _nothing("needs images of neighbours")
    concept = concept_of(bench.probe)
    lesson, other = (_own_names(shown, bench.probe) for shown in (near, far))
    old, new = (bench.curve(responder, lesson, concept) for responder in (before, after))
    control = bench.curve(after, other, concept) if far else []
    return _record(bench, old, new, control, f"{len(near)} pictures of neighbours, control: {len(far)} of other things")


def _own_names(shown: Sequence[ProbeImage], probe: Probe) -> _Lesson:
    return _Lesson(
        [one.image for one in shown], [Concept(name=one.name, phrase=probe.phrases.get(one.name, "")) for one in shown]
    )


def _neighbours(probe: Probe, options: Options) -> tuple[list[ProbeImage], list[ProbeImage]]:
    """Return images of the nearest names, and as many of others."""
    near = spread(probe.near, options.proxies)
    far = spread(probe.far, len(near))
    return near, far


def _record(
    bench: _Bench, old: list[list[float]], new: list[list[float]], control: list[list[float]], what: str
) -> dict[str, ScoreRecord]:
    """Return the success after the last step, and that of the whole course."""
    options, stops = bench.options, (0, *bench.options.stops)
    courses = {"before": old, "after": new, "control": control}
    heights = {key: [mean(values) or 0.0 for values in course] for key, course in courses.items() if course}
    curves = {key: list(zip(map(float, stops), course, strict=True)) for key, course in heights.items()}
    told = [
        ", ".join(f"{stop:g} steps {height:.2f}" for stop, height in curves.get(key, ())) or "none"
        for key in ("after", "control")
    ]
    note = (
        f"LoRA of rank {options.rank}, lr {options.lr:g}, {options.batch} prompts a step; {what}; "
        f"judged on {bench.test.what}: {told[0]}; control: {told[1]}"
    )

    def record(before: list[float], after: list[float], beside: float | None, told: str) -> ScoreRecord:
        groups = [row // options.questions for row in range(len(after))]
        seed = bench.probe.seed
        found = score(before, after, better="lower", groups=groups, seed=seed, control=beside, note=told)
        return with_unattacked(found, heights["after"][0])

    def areas(curve: list[list[float]]) -> list[float]:
        return [area(stops, values) for values in zip(*curve, strict=True)]

    beside = (heights["control"][-1], area(stops, heights["control"])) if control else (None, None)
    return {
        "": record(old[-1], new[-1], beside[0], note).model_copy(update={"curves": curves}),
        AREA: record(areas(old), areas(new), beside[1], f"area under the curve of these steps; {note}"),
    }
