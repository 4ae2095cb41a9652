"""Does an answer name a thing: the one rule by which every metric counts.

Case, accents and punctuation do not count, nor whether a name's words are written as one ("Spider-Man", "Spiderman";
"light bulb", "lightbulb"). A name must stand as whole words, in order; its last word may be in the singular or the
plural ("pandas" names "panda"). In scripts that write no spaces each character is a word of its own, so that a name is
found inside a sentence.
"""

import itertools
import re
import unicodedata

from collections.abc import Sequence

_ACCENTS = re.compile(r"[\u0300-\u036f]")
"""Combining diacritics of Latin, Greek and Cyrillic; vowel signs of other scripts are part of the word."""

_SELECTORS = re.compile(r"[\ufe00-\ufe0f]")
"""They change the look of a symbol, not what it is."""

_PLURAL = 3
"""Letters that the longest ending of a plural adds, of "ponies" to "pony" too."""

_PIECE = 3
"""Letters from which on a word may be half of a name that is written as one: else "be an egg" were a bean."""

_STOPS = ".!?;:"
"""What ends a sentence, so that no name of another thing goes on: "It is red. Panda." is a panda."""

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


LEAST_PART = 4
"""Letters of a word of a name that may stand for it; shorter ones bind words together."""


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
    glued = [True, *(one[1] == next_one[1] for one, next_one in itertools.pairwise(found))]
    closed = [text[stop - 1] in _STOPS or text[stop : stop + 1] == "\n" for _, (_, stop) in found]
    hidden = {
        place
        for other, within in _longer(others, wanted)
        for run in _runs(spoken, glued, other)
        if not (within and any(closed[place] and not glued[place + 1] for place in run[:-1]))
        for place in run
    }
    ranges = [
        (found[run.start][1][0], found[run.stop - 1][1][1])
        for name in wanted
        for run in _runs(spoken, glued, name)
        if not hidden.issuperset(run)
    ]
    return sorted(set(ranges))


def parts_said(text: str, names: Sequence[str], *, others: Sequence[str] = ()) -> list[str]:
    """Return the words of a name of several that a text holds where it holds no whole name.

    Args:
        text: An answer.
        names: The name with its aliases.
        others: Names of other things, whose words tell nothing.

    Example:
        >>> parts_said("This is President Trump.", ["Donald Trump"])
        ['trump']
    """
    if mentions(text, names):
        return []
    usual = {word for other in others for word in words(other)}
    split = [words(name) for name in names]
    parts = dict.fromkeys(word for one in split if len(one) > 1 for word in one if len(word) >= LEAST_PART)
    return [part for part in parts if part not in usual and part in words(text)]


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a range of `spans` without the quotes and full stops around the name.

    Example:
        >>> start, end = trimmed('this is a "panda".', 10, 18)
        >>> 'this is a "panda".'[start:end]
        'panda'
    """
    name = words(text[start:end])
    while words(text[start + 1 : end]) == name:
        start += 1
    while words(text[start : end - 1]) == name:
        end -= 1
    return start, end


def says_yes(text: str) -> bool | None:
    """Read a yes/no answer by its first word; None if it is neither."""
    first = words(text)[:1]
    return {"yes": True, "no": False}.get(first[0]) if first else None


def _spaced(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # soft hyphens, joiners and the like are not seen
        return ""
    # Symbols stay, each a word of its own, so that "C++" and an emoji can be names.
    if category[0] == "S" or _UNSPACED.match(character):
        return f" {character} "
    return character if category[0] in "LNM" else " "


def _runs(spoken: Sequence[str], glued: Sequence[bool], name: Sequence[str]) -> list[range]:
    """Return the runs of words that spell a name, whether or not they are parted where its own words are.

    Args:
        spoken: Words of a text.
        glued: For each, whether no space parts it from the one before.
        name: Words of a name.
    """
    whole, ends = "".join(name), set(itertools.accumulate(len(word) for word in name))
    runs = []
    for start in range(len(spoken)):
        so_far = ""
        for stop, word in enumerate(spoken[start:], start + 1):
            so_far += word
            if len(so_far) > len(whole) + _PLURAL:
                break
            parts = spoken[start:stop]
            if len(parts) == len(name):
                spelt = _same_words(parts, name)
            else:
                spelt = _same_noun(so_far, whole) and _joinable(parts, glued[start:stop], ends, whole)
            if spelt:
                runs.append(range(start, stop))
    return runs


def _same_words(parts: Sequence[str], name: Sequence[str]) -> bool:
    return list(parts[:-1]) == list(name[:-1]) and _same_noun(parts[-1], name[-1])


def _joinable(parts: Sequence[str], glued: Sequence[bool], ends: set[int], whole: str) -> bool:
    """Return whether words may be parted otherwise than in the name.

    A space inside a word of the name parts two pieces long enough to be meant, such as those of "light bulb".
    """
    if len(whole) < _PIECE:
        return False
    end = 0
    for place, part in enumerate(parts[:-1]):
        end += len(part)
        if end not in ends and not glued[place + 1] and min(len(part), len(parts[place + 1])) < _PIECE:
            return False
    return True


def _same_noun(one: str, other: str) -> bool:
    return one == other or one in _plurals(other) or other in _plurals(one)


def _plurals(noun: str) -> tuple[str, ...]:
    # English only, by rule; an irregular plural belongs among the aliases.
    if len(noun) < 3 or not noun.isascii() or not noun.isalpha():
        return ()
    return (f"{noun}s", f"{noun}es", f"{noun.removesuffix('y')}ies")


def _longer(others: Sequence[str], wanted: Sequence[Sequence[str]]) -> list[tuple[list[str], bool]]:
    """Return the names of other things that hold a wanted one, and whether each keeps within a sentence.

    "St. Bernard" has a full stop of its own.
    """
    splits = [(words(other), not any(stop in other for stop in _STOPS)) for other in others]
    return [
        (other, within)
        for other, within in splits
        if any(len(run) < len(other) for name in wanted for run in _runs(other, [False] * len(other), name))
    ]
