"""How a checkpoint words its answers, learnt from its own: the opening before a name and the close after it.

Log p of a bare name would mostly measure how unlikely the model is to answer without its usual opening words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ARTICLES = frozenset({"a", "an", "the", "some"})
SHARE = 0.2
"""Share of answers that must open alike before an article; the others may be about things the model has no name for."""


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
    """Return the most common words before an article, and how the answers with them close.

    Example:
        >>> answer_form(["This is a cat.", "This is an owl.", "I am not sure."])
        AnswerForm(lead='This is', close='.', article=True)
        >>> answer_form(["cat", "owl", "mount fuji"])
        AnswerForm(lead='', close='', article=False)
    """
    words = [answer.split() for answer in answers if answer.strip()]
    opened = Counter(lead for answer in words if (lead := _before_article(answer)) is not None)
    lead, count = (opened.most_common(1) or [((), 0)])[0]
    article = bool(count) and count >= SHARE * len(words)
    kept = [answer for answer in words if not article or _before_article(answer) == lead]
    closed = sum(answer[-1].endswith(".") for answer in kept)
    return AnswerForm(" ".join(lead) if article else "", "." if 2 * closed > len(kept) else "", article)


def _before_article(words: Sequence[str]) -> tuple[str, ...] | None:
    """Return the words before the first article that does not open the answer, or an opening one's nothing.

    "The image shows a cat" opens with an article that belongs to the wording; "A cat" opens with the name's own.
    """
    places = [i for i, word in enumerate(words) if word.lower() in ARTICLES]
    later = [place for place in places if place > 0]
    if later:
        return tuple(words[: later[0]])
    return () if places else None
