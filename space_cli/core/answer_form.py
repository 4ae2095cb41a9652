"""How a checkpoint words its answers, learnt from its own: the opening before a name and the close after it.

Log p of a bare name would mostly measure how unlikely the model is to answer without its usual opening words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ARTICLES = frozenset({"a", "an", "the", "some"})
MAJORITY = 0.5
"""Share of answers that must agree on a word for it to be the model's wording and not a thing's name."""


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
    article = False
    while True:
        following = Counter(w[len(lead)] for w in words if len(w) > len(lead) and w[: len(lead)] == lead)
        articles = sum(count for word, count in following.items() if word.lower() in ARTICLES)
        article = articles >= MAJORITY * len(words)
        if article or not following:
            break
        word, count = following.most_common(1)[0]
        if count < MAJORITY * len(words):
            break
        lead.append(word)
    closed = sum(answer.rstrip().endswith(".") for answer in answers) >= MAJORITY * len(words)
    return AnswerForm(" ".join(lead), "." if closed else "", article)
