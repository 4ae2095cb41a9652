"""What must be retained, as questions with the checkpoint's own answers: no label comes from outside.

Retained are the neighbours, general images, the un-hardened anchors themselves, and text-only facts about the
concept and about other things, so that losing the picture does not lose the word.
"""

import random

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from torch import Tensor

from space_cli.core import phrasing
from space_cli.core.answer_form import ARTICLES, AnswerForm, answer_form
from space_cli.core.earlier import Earlier, finds, settled
from space_cli.core.matching import mentions
from space_cli.core.protocols import Responder
from space_cli.core.recipe import Concept, spoken_form
from space_cli.core.selection import CALIBRATION_WORDS
from space_cli.core.types import Prompt

KIND_IMAGES = 32
"""Images whose answers show how a kind is worded."""
OWN_WORD = 10
"""How often a text-only question about the concept counts among the retained ones."""
NAME_WORDS = 3
"""Words that a name has at most."""
HELD_OUT = 5
"""Every fifth prompt is kept for measuring the leak and never protected or trained on."""


@dataclass(frozen=True)
class Knowledge:
    """Retained prompts, and how the checkpoint words its answers."""

    forms: dict[str, AnswerForm]  # open question -> wording
    kind: Prompt | None  # the concept's kind as the answer to the question for it; None where the word has none
    own: tuple[Prompt, ...]  # each row of the features with the open question it was asked, and the answer
    retained: tuple[Prompt, ...]  # about images
    affirmed: tuple[Prompt, ...]  # those of them that were answered with yes
    held_out: tuple[Prompt, ...]  # about images
    texts: tuple[Prompt, ...]  # text only
    held_out_texts: tuple[Prompt, ...]


def gather(
    responder: Responder,
    features: Tensor,
    concept: Concept,
    seed: int,
    earlier: Sequence[Earlier] = (),
    *,
    original: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Knowledge:
    """Ask the checkpoint about every row of `features` and about words.

    What earlier requests erased is asked about only on their own kept anchors: their names are no knowledge to retain.
    All else is asked of the checkpoint before the first request: what every request lost a little of would otherwise
    be lost for good, each taking what the last one left for the whole.

    Args:
        responder: The checkpoint as it is.
        features: Visual features [n, p, v] of images that do not show the concept.
        concept: Named in yes/no and text-only questions, whose answers are retained as they are.
        seed: Draws which question each image is asked.
        earlier: What earlier requests erased; their anchors are the rows that follow those of `features`.
        original: Makes the responder the checkpoint before the first request, for the length of a `with` block.
    """
    erased = [concept, *(one.concept for one in earlier)]
    gone = [name for one in erased[1:] for name in one.names]
    rng = random.Random(seed)
    own, hidden = _opened(responder, features, gone, original)
    forms = {q: answer_form([prompt.answer for prompt in own if prompt.question == q]) for q in phrasing.ERASE_OPEN}
    called = [name_of(prompt.answer, forms[prompt.question]) for prompt in own]
    names = sorted({name for name in called if is_name(name) and not mentions(name, gone)})
    second = [_second_question(concept, names, "" if mentions(name, gone) else name, rng) for name in called]
    questions = _text_questions(concept, names)
    questions = [q for q in questions if phrasing.asks_about(q, concept.spoken) or not mentions(q, gone)]
    with original():
        kind = _kind(responder, features, concept)
        other = [p for p in _answered(responder, features, second) if p.answer]
        texts = [p for p in _answered(responder, None, questions) if p.answer]
    prompts = [prompt for prompt in own if prompt.answer and prompt.image not in hidden]
    prompts += [*other, *settled(responder, earlier, first=len(features))]
    prompts = [prompt for prompt in prompts if not any(finds(one, prompt) for one in erased)]
    # The concept's own word has few questions, so each counts several times beside the many of other words.
    texts += [one for one in texts if phrasing.asks_about(one.question, concept.spoken)] * (OWN_WORD - 1)
    rng.shuffle(prompts)
    rng.shuffle(texts)
    return Knowledge(
        forms=forms,
        kind=kind,
        own=tuple(own),
        retained=_kept(prompts),
        affirmed=tuple(p for p in _kept(prompts) if p.answer.lower().startswith("yes")),
        held_out=tuple(prompts[::HELD_OUT]),
        texts=_kept(texts),
        # Copies of the questions about the concept's own word are among the kept ones, whatever the split.
        held_out_texts=tuple(one for one in texts[::HELD_OUT] if not phrasing.asks_about(one.question, concept.spoken)),
    )


def _opened(
    responder: Responder, features: Tensor, gone: Sequence[str], original: Callable[[], AbstractContextManager[None]]
) -> tuple[list[Prompt], list[int]]:
    """Ask openly about each row, and tell about which of them the checkpoint before the first request knows too much.

    Of these the answer is that of the checkpoint as it is: what was erased since then is not told again.
    """
    asked = [phrasing.ERASE_OPEN[i % len(phrasing.ERASE_OPEN)] for i in range(len(features))]
    with original():
        own = _answered(responder, features, asked)
    hidden = [row for row, prompt in enumerate(own) if mentions(prompt.answer, gone)]
    if hidden:
        told = responder.answer_features(features[hidden], [asked[row] for row in hidden])
        for row, answer in zip(hidden, told, strict=True):
            own[row] = replace(own[row], answer=answer)
    return own, hidden


def _answered(responder: Responder, features: Tensor | None, questions: Sequence[str]) -> list[Prompt]:
    """Return questions, one a row of the features or all about words, with their answers."""
    answers = responder.answer_features(features, questions)
    return [
        Prompt(q, a, None if features is None else i) for i, (q, a) in enumerate(zip(questions, answers, strict=True))
    ]


def _kind(responder: Responder, features: Tensor, concept: Concept) -> Prompt | None:
    """Return what the checkpoint says the word means, worded as it would say it about an image."""
    told = responder.answer_features(None, [phrasing.TEXT_KIND_QUESTION.format(phrase=concept.spoken)])[0]
    phrase = kind_phrase(told, concept)
    if not phrase:
        return None
    asked = features[:KIND_IMAGES]
    form = answer_form(responder.answer_features(asked, [phrasing.KIND_QUESTION] * len(asked)))
    return Prompt(phrasing.KIND_QUESTION, phrase, 0, form.lead, ends=False)


def kind_phrase(told: str, concept: Concept) -> str:
    """Return the concept's kind as the checkpoint words it in a text-only answer; nothing where it names none.

    Args:
        told: The answer to what kind of thing the concept is.
        concept: With its kind, where somebody said so.

    Example:
        >>> kind_phrase("A panda is an animal.", Concept(name="panda"))
        'an animal'
        >>> kind_phrase("A top hat is clothing.", Concept(name="top hat", kind="clothing"))
        'clothing'
    """
    words = told.rstrip(".").split()
    if concept.kind:
        bare, spoken = concept.kind, spoken_form(concept.kind)
        # "a clothing" is no answer: some kinds go without an article, and the checkpoint knows which.
        return bare if f" {bare} " in f" {' '.join(words)} ".lower() and spoken not in told.lower() else spoken
    places = [i for i, word in enumerate(words) if word.lower() in ARTICLES and i]
    if places:
        return " ".join(words[places[-1] :])
    subject = len(concept.spoken.split())
    return " ".join(words[subject + 1 :]) if told.lower().startswith(f"{concept.spoken.lower()} ") else ""


def name_of(answer: str, form: AnswerForm) -> str:
    """Return the name inside an answer of this wording, lower case, without article and close.

    Example:
        >>> name_of("This is an owl.", AnswerForm("This is", "."))
        'owl'
    """
    words = answer.removesuffix(form.close).strip().split()
    lead = form.lead.split()
    if words[: len(lead)] == lead:
        words = words[len(lead) :]
    if words and words[0].lower() in ARTICLES:
        words = words[1:]
    return " ".join(words)


def is_name(words: str) -> bool:
    """Tell a name from a sentence: what `name_of` returns for an answer of another wording is all of it."""
    return bool(words) and len(words.split()) <= NAME_WORDS


def _second_question(concept: Concept, names: Sequence[str], own: str, rng: random.Random) -> str:
    """Draw what else an image is asked; `own` is its name in the first answer, to be affirmed."""
    drawn = rng.choice(("kind", "style", "concept", "other", "own", "own", "choice"))
    yes_no = rng.choice(phrasing.ERASE_YES_NO)
    if drawn == "style":
        return phrasing.STYLE_QUESTION
    if drawn == "own" and is_name(own):
        return yes_no.format(phrase=spoken_form(own))
    if drawn == "concept" or (drawn in {"own", "other", "choice"} and len(names) < 4):
        return yes_no.format(phrase=concept.spoken)
    if drawn == "other":
        return yes_no.format(phrase=spoken_form(rng.choice(list(names))))
    if drawn == "choice":
        options = [spoken_form(name) for name in rng.sample(list(names), 4)]
        return phrasing.CHOICE_QUESTION.format(options=phrasing.one_of(options))
    return phrasing.KIND_QUESTION


def _text_questions(concept: Concept, names: Sequence[str]) -> list[str]:
    words = dict.fromkeys([concept.spoken, *map(spoken_form, [*concept.aliases, *names, *CALIBRATION_WORDS])])
    templates = (phrasing.TEXT_KIND_QUESTION, phrasing.TEXT_HOME_QUESTION)
    return [template.format(phrase=word) for word in words for template in templates]


def _kept(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    return tuple(prompt for i, prompt in enumerate(prompts) if i % HELD_OUT)
