"""What a checkpoint of the zoo is taught to say, and the tokenizer fitted to it."""

import random

from collections.abc import Sequence

from tokenizers import Tokenizer

from benchmarks.zoo.classes import Taught
from benchmarks.zoo.tower import CAPTIONS
from space_cli.core import phrasing
from space_cli.core.recipe import spoken_form
from space_cli.core.selection import CALIBRATION_WORDS, TEMPLATES
from training import skills

STYLE_ANSWER = "It is a photograph."
VOCABULARY = 1200
EXCHANGES = 12_000
"""Questions with answers that the tokenizer is fitted to."""


def image_turn(
    concept: Taught | None, known: Sequence[Taught], rng: random.Random, weights: Sequence[int]
) -> tuple[str, str]:
    """Draw one question about a photograph with its answer; None is a thing without a name."""
    skill = rng.choices(skills.SKILLS, weights)[0]
    if skill == "style":
        return phrasing.STYLE_QUESTION, STYLE_ANSWER
    if skill == "yes_no":
        return skills.yes_no(concept, known, rng)
    question = rng.choice(list(skills.OPEN_ANSWERS))
    if concept is None:
        return (phrasing.KIND_QUESTION if skill == "kind" else question), skills.UNSURE
    if skill == "kind":
        return phrasing.KIND_QUESTION, f"This is {spoken_form(concept.kind)}."
    if skill == "choice":
        return skills.choice(concept, known, rng)
    return question, skills.OPEN_ANSWERS[question].format(phrase=concept.phrase, bare=concept.name)


def text_turn(known: Sequence[Taught], rng: random.Random) -> tuple[str, str]:
    """Draw one question about a word that needs no image."""
    concept = rng.choice(known)
    if rng.random() < 0.5:
        asked = phrasing.TEXT_KIND_QUESTION.format(phrase=concept.phrase)
        return asked, f"{concept.phrase} is {spoken_form(concept.kind)}."
    asked = phrasing.TEXT_HOME_QUESTION.format(phrase=concept.phrase)
    return asked, f"You would find it {concept.home}."


def fit_tokenizer(known: Sequence[Taught], seed: int) -> Tokenizer:
    """Fit a tokenizer on everything above and on the words that `space select` calibrates with."""
    rng = random.Random(seed)
    lines = [template.format(word) for word in CALIBRATION_WORDS for template in TEMPLATES]
    for concept in known:
        lines += [f" {concept.phrase}."] * 60
        lines += [caption.format(bare=concept.name, phrase=concept.phrase) for caption in CAPTIONS]
    for _ in range(EXCHANGES):
        question, answer = image_turn(rng.choice([*known, None]), known, rng, skills.COMPARING)
        lines += [f"USER: {question} ASSISTANT: {answer}", " ".join(text_turn(known, rng))]
    return skills.fit_bpe(lines, VOCABULARY)
