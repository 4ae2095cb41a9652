"""What the bundled checkpoint is taught to say about drawings, and the tokenizer fitted to it."""

import random

from tokenizers import Tokenizer

from space_cli.bundled.concepts import drawn_concepts, unnamed_kinds, with_article
from space_cli.bundled.drawings import available_symbols, caption
from space_cli.core import phrasing
from training import skills
from training.skills import COMPARING, DENYING, NAMING, OPEN_ANSWERS, SKILLS, UNSURE, with_ends

__all__ = [
    "COMPARING", "DENYING", "NAMING", "fit_tokenizer", "image_caption", "image_turn", "kind_answer", "kind_of",
    "text_turn", "with_ends",
]  # fmt: skip

KINDS = tuple(dict.fromkeys(concept.kind for concept in drawn_concepts()))
STYLE_NAMES = {"colour": "It is drawn in colour.", "line": "It is drawn in black lines."}
CAPTIONS = ("{bare}", "a drawing of {phrase}", "a picture of {phrase}", "{phrase}", "an image of {phrase}")


def kind_of(symbol: str) -> str | None:
    """Return the kind of the thing that `symbol` shows, where it is known."""
    for concept in drawn_concepts():
        if concept.symbol == symbol:
            return concept.kind
    for first, last, kind in unnamed_kinds():
        if first <= ord(symbol) <= last:
            return kind
    return None


def image_turn(symbol: str, style: str, rng: random.Random, weights: tuple[int, ...] = NAMING) -> tuple[str, str]:
    """Draw one question about a rendering with its answer."""
    named = {concept.symbol: concept for concept in drawn_concepts()}
    concept = named.get(symbol)
    skill = rng.choices(SKILLS, weights)[0]
    if skill == "style":
        return phrasing.STYLE_QUESTION, STYLE_NAMES[style]
    if skill == "kind" or (concept is None and skill == "choice"):
        return phrasing.KIND_QUESTION, kind_answer(kind_of(symbol))
    if skill == "yes_no":
        return skills.yes_no(concept, drawn_concepts(), rng)
    if skill == "choice" and concept is not None:
        return skills.choice(concept, drawn_concepts(), rng)
    question = rng.choice(list(OPEN_ANSWERS))
    if concept is None:
        kind = kind_of(symbol)
        return question, f"This is some {kind}." if kind else UNSURE
    return question, OPEN_ANSWERS[question].format(phrase=concept.phrase, bare=concept.name)


def kind_answer(kind: str | None) -> str:
    """Answer the question for a kind."""
    return f"This is {with_article(kind)}." if kind else "This is a symbol."


def text_turn(rng: random.Random) -> tuple[str, str]:
    """Draw one question about a concept that needs no image."""
    concept = rng.choice(drawn_concepts())
    if rng.random() < 0.5:
        asked = phrasing.TEXT_KIND_QUESTION.format(phrase=concept.phrase)
        return asked, f"{concept.phrase} is {with_article(concept.kind)}."
    asked = phrasing.TEXT_HOME_QUESTION.format(phrase=concept.phrase)
    return asked, f"You would find it {concept.home}."


def image_caption(symbol: str, rng: random.Random) -> str:
    """Draw one caption for the contrastive encoder; now and then it adds the kind."""
    name = caption(symbol)
    text = rng.choice(CAPTIONS).format(bare=name, phrase=with_article(name))
    kind = kind_of(symbol)
    return f"{text}, {with_article(kind)}" if kind and rng.random() < 0.3 else text


def fit_tokenizer(vocabulary: int, seed: int) -> Tokenizer:
    """Fit a byte-level BPE on everything above, so that any Unicode input has tokens."""
    rng = random.Random(seed)
    lines = [caption(symbol) for symbol in available_symbols()]
    for concept in drawn_concepts():
        lines += [f" {concept.phrase}."] * 60
    for _ in range(20_000):
        symbol = rng.choice(available_symbols())
        question, answer = image_turn(symbol, rng.choice(list(STYLE_NAMES)), rng)
        lines += [f"USER: {question} ASSISTANT: {answer}", image_caption(symbol, rng)]
        lines.append(" ".join(text_turn(rng)))
    return skills.fit_bpe(lines, vocabulary)
