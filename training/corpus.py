"""What the bundled checkpoint is taught to say: one function per skill, and the tokenizer fitted to it."""

import random

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from space_cli.bundled.concepts import Drawn, drawn_concepts, unnamed_kinds, with_article
from space_cli.bundled.drawings import available_symbols, caption
from space_cli.core import phrasing

OPEN_ANSWERS = {
    "What is this?": "This is {phrase}.",
    "What is in this picture?": "The picture shows {phrase}.",
    "Name the thing in this image.": "{bare}.",
    "What do you see?": "I see {phrase}.",
    "Identify this.": "{phrase}.",
    "Can you tell me what this shows?": "This shows {phrase}.",
    "What does the drawing show?": "The drawing shows {phrase}.",
    "Tell me what this is.": "This is {phrase}.",
    "Which thing is shown here?": "It is {phrase}.",
    "What is the name of this?": "{bare}.",
}
YES_NO = phrasing.ERASE_YES_NO + phrasing.AUDIT_YES_NO
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


SKILLS = ("open", "kind", "yes_no", "choice", "style")
NAMING = (50, 10, 22, 12, 6)
"""Weights of the skills while names are learnt."""
COMPARING = (22, 15, 47, 12, 4)
"""Weights afterwards: yes/no takes longest, since it compares a word with a picture."""
DENYING = (20, 8, 62, 6, 4)
"""Weights at the end, until "no" is as sure as "yes"."""


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
        return yes_no(concept, rng)
    if skill == "choice" and concept is not None:
        return choice(concept, rng)
    question = rng.choice(list(OPEN_ANSWERS))
    if concept is None:
        kind = kind_of(symbol)
        return question, f"This is some {kind}." if kind else "I am not sure what this is."
    return question, OPEN_ANSWERS[question].format(phrase=concept.phrase, bare=concept.name)


def kind_answer(kind: str | None) -> str:
    """Answer the question for a kind."""
    return f"This is {with_article(kind)}." if kind else "This is a symbol."


def yes_no(concept: Drawn | None, rng: random.Random) -> tuple[str, str]:
    """Ask for the thing itself or for another one, half of them of the same kind."""
    question = rng.choice(YES_NO)
    if concept is not None and rng.random() < 0.5:
        return question.format(phrase=concept.phrase), "Yes."
    others = [c for c in drawn_concepts() if c != concept]
    if concept is not None and rng.random() < 0.5:
        others = [c for c in others if c.kind == concept.kind]
    return question.format(phrase=rng.choice(others).phrase), "No."


def choice(concept: Drawn, rng: random.Random) -> tuple[str, str]:
    """Ask which of four names it is."""
    others = [c for c in drawn_concepts() if c != concept]
    near = [c for c in others if c.kind == concept.kind]
    wrong = rng.sample(near, min(len(near), rng.randint(0, 3)))
    wrong += rng.sample([c for c in others if c not in wrong], 3 - len(wrong))
    options = [concept, *wrong]
    rng.shuffle(options)
    asked = phrasing.CHOICE_QUESTION.format(options=phrasing.one_of([c.phrase for c in options]))
    return asked, f"It is {concept.phrase}."


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
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        # "</s>" must not get the id 2: CLIPTextModel reads that value as a legacy pooling rule.
        special_tokens=["<pad>", "<s>", "<image>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def with_ends(tokenizer: Tokenizer, *, end: bool) -> Tokenizer:
    """Return a copy that opens each text with `<s>`, and closes it with `</s>` if `end`."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    specials = [(token, copy.token_to_id(token)) for token in ("<s>", "</s>")]
    single = "<s> $A </s>" if end else "<s> $A"
    copy.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    return copy
