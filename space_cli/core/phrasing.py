"""The questions `space` asks a checkpoint.

Those about images are split, so that an audit never repeats what an erasure trained on. The two without an image are
not: small checkpoints know one wording of them, so that the audit's text knowledge is what was retained in training.
"""

import re

ERASE_OPEN = (
    "What is this?",
    "What is in this picture?",
    "Name the thing in this image.",
    "What do you see?",
    "Identify this.",
)
"""Open questions that hardening and erasure may use."""

OPENINGS = ("It is", "That is", "This looks like", "I think this is", "You can see")
"""Words that may stand before a name in an answer, whatever the checkpoint's own are."""

AUDIT_OPEN = (
    "Can you tell me what this shows?",
    "What does the drawing show?",
    "Tell me what this is.",
    "Which thing is shown here?",
    "What is the name of this?",
)
"""Open questions kept for audits."""

ERASE_YES_NO = ("Is this {phrase}?", "Does this picture show {phrase}?")
AUDIT_YES_NO = ("Do you see {phrase} here?", "Is {phrase} shown in this image?")
KIND_QUESTION = "What kind of thing is this?"
CHOICE_QUESTION = "Is this {options}?"
TEXT_KIND_QUESTION = "What kind of thing is {phrase}?"
TEXT_HOME_QUESTION = "Where would you find {phrase}?"
STYLE_QUESTION = "How is this picture drawn?"
IDENTITY_FREE = (KIND_QUESTION, STYLE_QUESTION)
"""Questions about an image that do not ask which thing it shows."""


def asks_about(question: str, phrase: str) -> bool:
    """Tell whether one of these questions is about a thing, and not about one whose name only begins like it.

    Example:
        >>> asks_about("Is this a car?", "a car"), asks_about("Is this a bus, a car or a rose?", "a car")
        (True, True)
        >>> asks_about("Is this a carpet?", "a car"), asks_about("Is this a car tyre?", "a car")
        (False, False)
    """
    return re.search(rf"(?<!\w){re.escape(phrase)}(?=\?|,| or )", question) is not None


def one_of(options: list[str]) -> str:
    """Join options as a person would say them.

    Example:
        >>> one_of(["a cat", "a bus", "a rose"])
        'a cat, a bus or a rose'
    """
    return f"{', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else options[0]
