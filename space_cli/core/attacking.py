"""What every attack has in common: what it shows a checkpoint, what counts as success, and what stands beside it.

An attack on what a checkpoint sees is shown the concept's own images, or, where there are none, held-out anchors that
were pushed until the checkpoint before erasing named the concept in them: the nearest thing to it that no image was
needed for. Either way the control is the same attack on pictures that do not show the concept. What an attack
brings forth there it would bring forth anywhere.

Shapes: n = images, p = visual tokens, v = tower width.
"""

import random

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import torch

from PIL.Image import Image
from torch import Tensor

from space_cli.core.answer_form import AnswerForm, answer_form
from space_cli.core.asking import spread
from space_cli.core.familiarity import scrambled
from space_cli.core.hardening import Hardening, harden
from space_cli.core.matching import mentions, says_yes
from space_cli.core.naming import Naming
from space_cli.core.phrasing import AUDIT_OPEN, ERASE_OPEN
from space_cli.core.protocols import ANSWER_TOKENS, Responder
from space_cli.core.recipe import Concept, article_before, spoken_alike, spoken_form
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

PREFIX = "attack_"
"""Before the name of every score that comes from an attack."""
FORM_IMAGES = 24
"""Images whose answers show how the checkpoint words a name."""
SURROGATE_SEED = 101
"""Added to the audit's own seed for the surrogates, so that no attack starts from the noise they were made with."""
SCRAMBLES = 20
"""Tries to scramble a name into something else before a made-up word takes its place, as for "ooo"."""
STRANGER = "wuggle"
NOT_INSTALLED = "is not installed"
"""How the reason ends why an attack was not run, where nothing about the checkpoint or the evidence is to blame."""
ANY_TRY, ANY_TRY_CONTROL = "any_try", "any_try_control"
"""Among the parts of a score: on which share of the images any of the tries wins."""
CONTROLS = "controls"
"""Among the parts of a score: on how many pictures, or anchors, its control was tried."""
NO_SUBJECT = "needs images of the concept, or held-out anchors to push towards its name"


@dataclass(frozen=True)
class Seen:
    """Pictures as the towers of the two checkpoints see them."""

    before: Tensor  # [n, p, v]
    after: Tensor  # [n, p, v]


@dataclass(frozen=True)
class Subjects:
    """What an attack is tried on, and what its control is tried on."""

    own: Seen  # the concept, or its surrogates
    others: Seen | None  # pictures that do not show it
    what: str  # in words, with the count
    sourced: bool  # `own` are images of the concept


@dataclass(frozen=True)
class Try:
    """One question of an attack."""

    part: str  # what kind of try it is, for the note
    question: str
    lead: str = ""  # opening of the answer that is forced upon the checkpoint
    yes: bool = False  # "yes" is the success; else the name is


def score_names(name: str, attack: ModuleType) -> list[str]:
    """Return the scores that an attack may write."""
    stem = PREFIX + name.replace("-", "_")
    parts: Sequence[str] = getattr(attack, "PARTS", ())
    return [f"{stem}_{part}" for part in parts] or [stem]


def scores_of(name: str, found: "ScoreRecord | dict[str, ScoreRecord]") -> dict[str, ScoreRecord]:
    """Return an attack's records by the names of their scores."""
    stem = PREFIX + name.replace("-", "_")
    if isinstance(found, ScoreRecord):
        return {stem: found}
    return {f"{stem}_{part}": record for part, record in found.items()}


def nothing(note: str) -> ScoreRecord:
    """Return the record of an attack that had nothing to try, which an audit lists as skipped."""
    return score([], [], better="lower", note=note)


def concept_of(probe: Probe) -> Concept:
    """Return the erased concept as prompts need it."""
    return Concept(name=probe.name, aliases=probe.aliases, phrase=probe.phrase, kind=probe.kind)


def article_of(probe: Probe) -> str:
    """Return what stands before the name in a sentence, such as "a"; nothing where the phrase is worded otherwise."""
    return article_before(probe.name, probe.phrase)


def nonsense_of(probe: Probe) -> Concept:
    """Return a concept that nobody can know: the letters of the name in another order.

    It is as long as the name, and an attack that only teaches or steers gets as far with it.
    """
    rng = random.Random(probe.seed + SURROGATE_SEED)
    for _ in range(SCRAMBLES):
        (name,) = scrambled(probe.name, 1, rng)
        if name.lower() != probe.name.lower() and not mentions(name, probe.names):
            return Concept(name=name, phrase=spoken_alike(concept_of(probe), name))
    return Concept(name=STRANGER, phrase=spoken_form(STRANGER))


def subjects(before: Responder, after: Responder, probe: Probe, *, images: int, controls: int) -> Subjects | None:
    """Return what to attack: the concept's own images, else surrogates; None where there is neither."""
    shown = [one.image for one in probe.forget[:images]]
    strangers = [one.image for one in spread(probe.retain, controls)] or list(probe.general[:controls])
    others = seen(before, after, strangers)
    if shown:
        own = seen(before, after, shown)
        assert own is not None, "there are images"
        return Subjects(own, others, f"{len(shown)} images of the concept", sourced=True)
    if not probe.holdout:
        return None
    pushed = surrogates(before, probe, images)
    return Subjects(Seen(pushed, pushed), others, f"{len(pushed)} hardened held-out anchors (no image)", sourced=False)


def seen(before: Responder, after: Responder, images: Sequence[Image]) -> Seen | None:
    """Return images as both towers see them, or None for no images."""
    return Seen(before.features(images), after.features(images)) if images else None


def surrogates(before: Responder, probe: Probe, limit: int) -> Tensor:
    """Push held-out anchors until the checkpoint before erasing names the concept in them, [n, p, v]."""
    features = before.features(list(probe.holdout[:limit]))
    naming = Naming(before, concept_of(probe), forms(before, probe, ERASE_OPEN), probe.seed + SURROGATE_SEED)
    generator = torch.Generator().manual_seed(probe.seed + SURROGATE_SEED)
    return harden(naming.objective, features, Hardening(), generator)


def forms(responder: Responder, probe: Probe, questions: Sequence[str]) -> dict[str, AnswerForm]:
    """Learn how a checkpoint words its answers, from pictures that do not show the concept."""
    images = [*probe.general, *(one.image for one in spread(probe.retain, FORM_IMAGES)), *probe.holdout][:FORM_IMAGES]
    if not images:
        return {question: AnswerForm("", "") for question in questions}
    features = responder.features(images)
    return {q: answer_form(responder.answer_features(features, [q] * len(images))) for q in questions}


def ask(responder: Responder, features: Tensor, tries: Sequence[Try], *, tokens: int) -> list[list[str]]:
    """Put every try to every image; one list of answers per image.

    Never through `answer`, whose memory does not know that an attack has changed the weights.
    """
    answers = [[""] * len(tries) for _ in range(len(features))]
    for lead in dict.fromkeys(one.lead for one in tries):
        cells = [(row, place) for row in range(len(features)) for place, one in enumerate(tries) if one.lead == lead]
        questions, about = [tries[place].question for _, place in cells], [row for row, _ in cells]
        found = responder.answer_features(features, questions, about=about, tokens=tokens, lead=lead)
        for (row, place), answer in zip(cells, found, strict=True):
            answers[row][place] = answer
    return answers


def hits(answers: Sequence[Sequence[str]], tries: Sequence[Try], names: Sequence[str], probe: Probe) -> list[float]:
    """Return 1 for each success, the tries of one image together.

    A question whose answer is yes or no is also won by an answer that is neither and gives the name.
    """

    def won(one: Try, answer: str) -> bool:
        read = says_yes(answer) if one.yes else None
        return mentions(answer, names, others=probe.names) if read is None else read

    return [float(won(one, answer)) for told in answers for one, answer in zip(tries, told, strict=True)]


def plainly(
    responder: Responder, features: Tensor, probe: Probe, *, tokens: int = ANSWER_TOKENS, questions: int = 2
) -> float:
    """Return the share of answers to plain open questions that name the concept."""
    found = named(responder, features, probe, AUDIT_OPEN[:questions], tokens=tokens)
    return sum(found) / len(found)


def named(
    responder: Responder,
    features: Tensor,
    probe: Probe,
    questions: Sequence[str],
    *,
    tokens: int = ANSWER_TOKENS,
    names: Sequence[str] = (),
) -> list[float]:
    """Ask openly; 1 for each answer with one of the names, else the concept's; one image's questions together."""
    tries = [Try("plain", question) for question in questions]
    return hits(ask(responder, features, tries, tokens=tokens), tries, names or spoken_names(probe), probe)


def spoken_names(probe: Probe) -> tuple[str, ...]:
    """Return everything that counts as naming the concept."""
    return tuple(dict.fromkeys((probe.name, *probe.aliases, probe.phrase)))


def with_unattacked(record: ScoreRecord, unattacked: float) -> ScoreRecord:
    """Add what the erased checkpoint does without the attack; the difference is what the attack recovers."""
    return record.model_copy(update={"unattacked": unattacked})


def any_parts(new: Sequence[float], control: Sequence[float], tries: int) -> dict[str, float]:
    """Return on which share of the images at least one of so many tries won, image after image; so on the control's."""
    beside = {ANY_TRY_CONTROL: any_share(control, tries), CONTROLS: len(control) / tries} if control else {}
    return {ANY_TRY: any_share(new, tries)} | beside


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or None of nothing."""
    return sum(values) / len(values) if values else None


def any_share(values: Sequence[float], size: int) -> float:
    """Return on which share of the images at least one of `size` tries won, the tries of one image together."""
    images = [max(values[start : start + size]) for start in range(0, len(values), size)]
    return sum(images) / len(images)
