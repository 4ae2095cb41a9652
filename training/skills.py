"""What any of our checkpoints is taught: questions with answers about named things, and a tokenizer fitted to them."""

import random

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

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
SKILLS = ("open", "kind", "yes_no", "choice", "style")
NAMING = (50, 10, 22, 12, 6)
"""Weights of the skills while names are learnt."""
COMPARING = (22, 15, 47, 12, 4)
"""Weights afterwards: yes/no takes longest, since it compares a word with a picture."""
DENYING = (20, 8, 62, 6, 4)
"""Weights at the end, until "no" is as sure as "yes"."""
UNSURE = "I am not sure what this is."


class Named(Protocol):
    """A thing with a name, and the two facts a checkpoint is taught about the word."""

    @property
    def name(self) -> str:
        """The name alone."""

    @property
    def phrase(self) -> str:
        """The name as a sentence holds it."""

    @property
    def kind(self) -> str:
        """What kind of thing it is."""

    @property
    def home(self) -> str:
        """Where it is found, as the end of a sentence."""


Known = TypeVar("Known", bound=Named)


def yes_no(concept: Known | None, known: Sequence[Known], rng: random.Random) -> tuple[str, str]:
    """Ask for the thing itself or for another one, half of them of the same kind."""
    question = rng.choice(YES_NO)
    if concept is not None and rng.random() < 0.5:
        return question.format(phrase=concept.phrase), "Yes."
    others = [c for c in known if c != concept]
    if concept is not None and rng.random() < 0.5:
        others = [c for c in others if c.kind == concept.kind] or others
    return question.format(phrase=rng.choice(others).phrase), "No."


def choice(concept: Known, known: Sequence[Known], rng: random.Random) -> tuple[str, str]:
    """Ask which of four names it is."""
    others = [c for c in known if c != concept]
    near = [c for c in others if c.kind == concept.kind]
    wrong = rng.sample(near, min(len(near), rng.randint(0, 3)))
    wrong += rng.sample([c for c in others if c not in wrong], 3 - len(wrong))
    options = [concept, *wrong]
    rng.shuffle(options)
    asked = phrasing.CHOICE_QUESTION.format(options=phrasing.one_of([c.phrase for c in options]))
    return asked, f"It is {concept.phrase}."


def fit_bpe(lines: Iterable[str], vocabulary: int) -> Tokenizer:
    """Fit a byte-level BPE, so that any Unicode input has tokens."""
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
