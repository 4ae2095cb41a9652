"""How a checkpoint words its answers, learnt from its own: the opening before a name and the close after it.

Log p of a bare name would mostly measure how unlikely the model is to answer without its usual opening words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ARTICLES = frozenset({"a", "an", "the", "some"})
MAJORITY = 0.5
"""More than this share of answers must agree on a word for it to be the model's wording and not a thing's name."""


@dataclass(frozen=True)
class AnswerForm:
    """The words around a name in the answers to one question."""

    lead: str  # "This is"; empty if answers begin with the name
    close: str  # "." or nothing
    article: bool = True  # the name comes with its article

    def around(self, name: str, phrase: str) -> str:
        """Return the scored part of an answer that gives this name."""
        return f"{phrase if self.article else name}{self.close}"


def answer_form(answers: Sequence[str]) -> AnswerForm:
    """Return the wording that most of the answers to one question share.

    Example:
        >>> answer_form(["This is a cat.", "This is an owl.", "This is Mount Fuji."])
        AnswerForm(lead='This is', close='.', article=True)
        >>> answer_form(["cat", "owl", "mount fuji"])
        AnswerForm(lead='', close='', article=False)
    """
    words = [answer.split() for answer in answers if answer.strip()]
    if not words:
        return AnswerForm("", "")
    lead: list[str] = []
    while (word := _agreed(words, lead)) is not None:
        lead.append(word)
    following = _following(words, lead)
    articles = sum(count for word, count in following.items() if word.lower() in ARTICLES)
    article = articles >= MAJORITY * len(words)
    closed = sum(answer.rstrip().endswith(".") for answer in answers) >= MAJORITY * len(words)
    return AnswerForm(" ".join(lead), "." if closed else "", article)


def _agreed(words: Sequence[list[str]], lead: list[str]) -> str | None:
    """Return the next word of the wording, or None where names begin.

    An article belongs to the wording only if the word behind it does, as in "The image shows".
    """
    word, count = (_following(words, lead).most_common(1) or [("", 0)])[0]
    if count <= MAJORITY * len(words):
        return None
    if word.lower() in ARTICLES:
        behind = _following(words, [*lead, word]).most_common(1)
        if not behind or behind[0][1] <= MAJORITY * len(words):
            return None
    return word


def _following(words: Sequence[list[str]], lead: list[str]) -> Counter[str]:
    return Counter(w[len(lead)] for w in words if len(w) > len(lead) and w[: len(lead)] == lead)
