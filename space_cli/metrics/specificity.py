"""Mean accuracy over the general skills the checkpoint has, asked of everything but the concept (MMUBench).

    specificity = (1 / |S|) sum over skills s in S of mean over cases c of s of 1[answer(c) is right]

The skills, the most basic of each kind of benchmark:

- `yes_no`: "Do you see … here?" of an image's own name and of another one. Chance 1/2.
- `choice`: which of four names an image shows. Chance 1/4.
- `kind`: what kind of thing an image shows.
- `style`: how an image is drawn.
- `text`: facts about other names, without an image.

Right is what a label says, where the auditor knows one; else the words of the answer before erasing. A skill is in S
where the checkpoint had it: the lower end of its interval before erasing is above chance. Unit: share. Direction:
higher is better. The interval is the mean of the skills' intervals: never too narrow, however their errors hang
together, as they do where skills share images. `n` is that of the skill with the fewest images or questions.

References:
    Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models (Li et al., 2024),
    arXiv:2405.12523.

Deviations:
    - It stands in for the mean over eight public benchmarks, which need their data sets and a checkpoint trained for
      them. `yes_no` is nearest to POPE, `choice` to MMBench and ScienceQA, `kind` and `style` to the short open
      questions of GQA and VQAv2; reading (TextVQA), VizWiz and MM-Vet have no counterpart. The figures do not compare
      with those published.
    - A skill without labels is scored by agreement: 1 before erasing, and no measure of being right.
"""

import random

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import spread
from space_cli.core.matching import mentions, says_yes, words
from space_cli.core.phrasing import AUDIT_YES_NO, CHOICE_QUESTION, KIND_QUESTION, STYLE_QUESTION, one_of
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import interval
from space_cli.core.types import Interval, Probe, ProbeImage

NEEDS: frozenset[str] = frozenset()
DEFAULT = False
"""It runs only where `--metrics` names it."""
CHANCE = {"yes_no": 0.5, "choice": 0.25}
"""What guessing gets; nothing for an open question."""
OFFERED = 4


class Options(BaseModel):
    """How much to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=0)] = 48  # of each source: other concepts, general ones
    facts: Annotated[int, Field(ge=0)] = 48  # text-only questions


@dataclass(frozen=True)
class _Case:
    question: str
    image: Image | None
    group: Hashable  # what it is evidence about, such as its image
    right: Callable[[str], bool] | None = None  # None where no label is known


@dataclass(frozen=True)
class _Skill:
    name: str
    scored: int  # cases
    labelled: int  # cases among them whose truth is known
    before: Interval
    after: Interval


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask both checkpoints about every skill; each skill counts the same."""
    cases = _cases(probe, options)
    tried = [found for name, asked in cases.items() if (found := _tried(name, asked, before, after, probe.seed))]
    skills = [skill for skill in tried if skill.before.low > CHANCE.get(skill.name, 0.0)]
    absent = [skill.name for skill in tried if skill not in skills]
    told = [
        f"{one.name} {one.before.mean:.3f} → {one.after.mean:.3f} ({one.labelled} of {one.scored} labelled)"
        for one in skills
    ]
    told += [f"not shown to be had before: {', '.join(absent)}"] if absent else []
    return ScoreRecord(
        before=_mean([one.before.mean for one in skills]),
        after=_mean([one.after.mean for one in skills]),
        low=_mean([one.after.low for one in skills]),
        high=_mean([one.after.high for one in skills]),
        n=min((one.after.n for one in skills), default=0),
        better="higher",
        note="; ".join(told) or "no image and no fact to ask about",
    )


def _cases(probe: Probe, options: Options) -> dict[str, list[_Case]]:
    shown = spread(probe.retain, options.images)
    rng = random.Random(probe.seed)
    pictures: list[tuple[Image, str]] = [(one.image, one.name) for one in shown]
    pictures += [(image, "") for image in probe.general[: options.images]]
    facts = rng.sample(list(probe.other_facts), min(options.facts, len(probe.other_facts)))
    return {
        "yes_no": [case for row, one in enumerate(shown) for case in _yes_no(row, one, probe, rng)],
        "choice": [case for row, one in enumerate(shown) for case in _choice(row, one, probe, rng)],
        "kind": [
            _Case(KIND_QUESTION, image, row, partial(_holds, truth=kind) if (kind := probe.kinds.get(name)) else None)
            for row, (image, name) in enumerate(pictures)
        ],
        "style": [_Case(STYLE_QUESTION, image, row) for row, (image, _) in enumerate(pictures)],
        "text": [
            _Case(question, None, row, partial(_holds, truth=truth) if truth else None)
            for row, (question, truth) in enumerate(facts)
        ],
    }


def _yes_no(row: int, one: ProbeImage, probe: Probe, rng: random.Random) -> list[_Case]:
    """Ask for the image's own name and for another one, so that always "yes" gets half of them."""
    others = _strangers(one.name, probe)
    if not others:
        return []
    question, other = AUDIT_YES_NO[row % len(AUDIT_YES_NO)], rng.choice(others)
    return [
        _Case(question.format(phrase=_phrase(probe, name)), one.image, row, partial(_says, yes=name == one.name))
        for name in (one.name, other)
    ]


def _choice(row: int, one: ProbeImage, probe: Probe, rng: random.Random) -> list[_Case]:
    """Offer four names, one of them right; an answer that gives a wrong one as well is wrong."""
    others = _strangers(one.name, probe)
    if len(others) < OFFERED - 1:
        return []
    wrong = rng.sample(others, OFFERED - 1)
    offered = rng.sample([_phrase(probe, name) for name in (one.name, *wrong)], OFFERED)
    right = partial(_picks, name=one.name, wrong=wrong, names=probe.names)
    return [_Case(CHOICE_QUESTION.format(options=one_of(offered)), one.image, row, right)]


def _strangers(name: str, probe: Probe) -> list[str]:
    """Return the names that neither hold this one nor are held by it, as a polar bear is a bear."""
    return [other for other in probe.names if not mentions(other, [name]) and not mentions(name, [other])]


def _phrase(probe: Probe, name: str) -> str:
    return probe.phrases.get(name, name)


def _picks(answer: str, *, name: str, wrong: Sequence[str], names: Sequence[str]) -> bool:
    return mentions(answer, [name], others=names) and not mentions(answer, wrong, others=names)


def _says(answer: str, *, yes: bool) -> bool:
    return says_yes(answer) is yes


def _holds(answer: str, *, truth: str) -> bool:
    return mentions(answer, [truth])


def _tried(name: str, cases: Sequence[_Case], before: Responder, after: Responder, seed: int) -> _Skill | None:
    """Answer the cases with both checkpoints; a case without label or answer before cannot be scored."""
    told = [_answers(responder, cases) for responder in (before, after)]
    scored = [(case, *answers) for case, *answers in zip(cases, *told, strict=True) if case.right or answers[0].strip()]
    groups = [case.group for case, *_ in scored]
    old = interval([_right(case, was, was) for case, was, _ in scored], groups=groups, seed=seed)
    new = interval([_right(case, now, was) for case, was, now in scored], groups=groups, seed=seed)
    if old is None or new is None:
        return None
    return _Skill(name, len(scored), sum(case.right is not None for case, *_ in scored), old, new)


def _answers(responder: Responder, cases: Sequence[_Case]) -> list[str]:
    images = [case.image for case in cases if case.image is not None]
    return responder.answer(images or None, [case.question for case in cases]) if cases else []


def _right(case: _Case, answer: str, before: str) -> float:
    return float(case.right(answer) if case.right else words(answer) == words(before))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
