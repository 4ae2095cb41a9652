"""Does an answer name a thing: the one rule by which every metric counts.

Case, accents and punctuation do not count. A name must stand as whole words, in order; its last word may be
in the singular or the plural ("pandas" names "panda"). In scripts that write no spaces each character is a
word of its own, so that a name is found inside a sentence.
"""

import re
import unicodedata

from collections.abc import Sequence

_ACCENTS = re.compile(r"[\u0300-\u036f]")
"""Combining diacritics of Latin, Greek and Cyrillic; vowel signs of other scripts are part of the word."""

_SELECTORS = re.compile(r"[\ufe00-\ufe0f\u200d]")
"""Variation selectors and the joiner: they change the look of a symbol, not what it is."""

_UNSPACED = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, kana, Han and Hangul (which glues particles to its nouns)."""


def words(text: str) -> list[str]:
    """Split a text into the words that are compared.

    Example:
        >>> words("It's a Café-Bar!"), words("これは熊猫")
        (['it', 's', 'a', 'cafe', 'bar'], ['こ', 'れ', 'は', '熊', '猫'])
    """
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = unicodedata.normalize("NFC", _SELECTORS.sub("", _ACCENTS.sub("", folded)))
    return "".join(_spaced(character) for character in plain).split()


def mentions(text: str, names: Sequence[str], *, others: Sequence[str] = ()) -> bool:
    """Tell whether a text contains one of the names.

    Args:
        text: An answer.
        names: The name with its aliases.
        others: Names of other things; "red panda" is not a "panda" if it stands among them.

    Returns:
        True if any name is there, outside of a longer name of something else.
    """
    return bool(spans(text, names, others=others))


def spans(text: str, names: Sequence[str], *, others: Sequence[str] = ()) -> list[tuple[int, int]]:
    """Return where the names stand in a text, as character ranges of whole space-separated words."""
    found = [(word, match.span()) for match in re.finditer(r"\S+", text) for word in words(match.group())]
    spoken = [word for word, _ in found]
    wanted = [split for name in names if (split := words(name))]
    hidden: set[int] = set()
    for other in _longer(others, wanted):
        for start in _starts(spoken, other):
            hidden.update(range(start, start + len(other)))
    ranges = []
    for name in wanted:
        for start in _starts(spoken, name):
            end = start + len(name)
            if not hidden.issuperset(range(start, end)):
                ranges.append((found[start][1][0], found[end - 1][1][1]))
    return sorted(set(ranges))


def says_yes(text: str) -> bool | None:
    """Read a yes/no answer by its first word; None if it is neither."""
    first = words(text)[:1]
    return {"yes": True, "no": False}.get(first[0]) if first else None


def _spaced(character: str) -> str:
    category = unicodedata.category(character)
    # Symbols stay, each a word of its own, so that "C++" and an emoji can be names.
    if category[0] == "S" or _UNSPACED.match(character):
        return f" {character} "
    return character if category[0] in "LNM" else " "


def _starts(spoken: list[str], name: list[str]) -> list[int]:
    last = len(name) - 1
    return [
        start
        for start in range(len(spoken) - last)
        if spoken[start : start + last] == name[:last] and _same_noun(spoken[start + last], name[last])
    ]


def _same_noun(one: str, other: str) -> bool:
    return one == other or one in _plurals(other) or other in _plurals(one)


def _plurals(noun: str) -> tuple[str, ...]:
    # English only, by rule; an irregular plural belongs among the aliases.
    if len(noun) < 3 or not noun.isascii() or not noun.isalpha():
        return ()
    return (f"{noun}s", f"{noun}es", f"{noun.removesuffix('y')}ies")


def _longer(others: Sequence[str], wanted: list[list[str]]) -> list[list[str]]:
    splits = [words(other) for other in others]
    return [other for other in splits if any(len(other) > len(name) and _starts(other, name) for name in wanted)]
