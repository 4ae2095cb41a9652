"""Other ways to write a name: what a filter on one spelling would miss.

Letters are exchanged one by one, without a dictionary of any language, so that a transliteration is what a reader of
that script would try, not always what its speakers write.
"""

import random

from collections.abc import Sequence
from dataclasses import dataclass

from space_cli.core.matching import words

LATIN = "abcdefghijklmnopqrstuvwxyz"
CYRILLIC = dict(zip(LATIN, "абкдефгхийклмнопкрстуввкыз", strict=True)) | {"sh": "ш", "ch": "ч", "zh": "ж", "x": "кс"}
GREEK = dict(zip(LATIN, "αβκδεφγχιικλμνοπκρστουβξυζ", strict=True)) | {"th": "θ", "ps": "ψ", "u": "ου", "w": "ου"}
LOOKALIKES = {"a": "а", "c": "с", "e": "е", "o": "о", "p": "р", "x": "х", "y": "у", "i": "і"}
"""Cyrillic letters that no reader tells from the Latin ones."""
LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5"}
KANA = {
    "": "アイウエオ",
    "k": "カキクケコ",
    "c": "カシクセコ",
    "q": "カキクケコ",
    "g": "ガギグゲゴ",
    "s": "サシスセソ",
    "z": "ザジズゼゾ",
    "j": "ジジジジジ",
    "t": "タチツテト",
    "d": "ダヂヅデド",
    "n": "ナニヌネノ",
    "h": "ハヒフヘホ",
    "f": "ハヒフヘホ",
    "b": "バビブベボ",
    "p": "パピプペポ",
    "m": "マミムメモ",
    "y": "ヤイユエヨ",
    "r": "ラリルレロ",
    "l": "ラリルレロ",
    "w": "ワウウウオ",
    "v": "バビブベボ",
}
VOWELS = "aiueo"
SURE = 5
"""Letters from which on a misspelt name is no other common word; shorter ones are asked for, but count as no answer."""


@dataclass(frozen=True)
class Spelling:
    """One way to write a name."""

    text: str
    kind: str  # "given", "script", "typo", "spacing" or "look-alike"
    sure: bool = True  # an answer that holds it names the concept


def spellings(names: Sequence[str], *, others: Sequence[str], seed: int) -> list[Spelling]:
    """Return the given names, then the first one in other scripts, with typos, with other spaces and in disguise.

    Args:
        names: The name and its aliases.
        others: Names of other things, which no typo may become.
        seed: Draws where the typos are.

    Example:
        >>> [one.text for one in spellings(["panda"], others=(), seed=0) if one.kind == "script"]
        ['панда', 'πανδα', 'パンダ']
    """
    name = names[0].lower()
    found = [Spelling(given, "given") for given in names]
    found += [Spelling(text, "script") for text in _scripts(name)]
    found += [Spelling(text, "typo", len(name) >= SURE) for text in _typos(name, random.Random(seed))]
    found += [Spelling(text, "spacing") for text in _spacings(name)]
    found += [Spelling(_exchanged(name, table), "look-alike") for table in (LOOKALIKES, LEET)]
    taken = {tuple(words(other)) for other in others}
    distinct: dict[str, Spelling] = {}
    for one in found:
        changed = one.kind == "given" or one.text != name
        if changed and words(one.text) and tuple(words(one.text)) not in taken:
            distinct.setdefault(one.text, one)
    return list(distinct.values())


def _scripts(name: str) -> list[str]:
    if set(name) & set(LATIN):
        return [_exchanged(name, CYRILLIC), _exchanged(name, GREEK), katakana(name)]
    backwards = {letter: latin for table in (CYRILLIC, GREEK) for latin, letter in table.items() if len(letter) == 1}
    return [_exchanged(name, backwards)] if set(name) & set(backwards) else []


def katakana(name: str) -> str:
    """Return a name in Japanese syllables; a lone consonant takes "u", a lone "n" has a sign of its own.

    Example:
        >>> katakana("banana"), katakana("penguin")
        ('バナナ', 'ペングイン')
    """
    found, place = [], 0
    while place < len(name):
        letter = name[place]
        after = name[place + 1] if place + 1 < len(name) else ""
        if letter in VOWELS:
            found.append(KANA[""][VOWELS.index(letter)])
        elif letter == "n" and not (after and after in VOWELS):
            found.append("ン")
        elif letter in KANA:
            voiced = bool(after) and after in VOWELS
            found.append(KANA[letter][VOWELS.index(after if voiced else "u")])
            place += voiced
        else:
            found.append(letter)
        place += 1
    return "".join(found)


def _typos(name: str, rng: random.Random) -> list[str]:
    """Swap, drop and double one letter each, never the first."""
    places = [i for i in range(1, len(name) - 1) if name[i].isalpha() and name[i + 1].isalpha()]
    if not places:
        return []
    swapped = [i for i in places if name[i] != name[i + 1]] or places
    one, two, three = rng.choice(swapped), rng.choice(places), rng.choice(places)
    return [
        f"{name[:one]}{name[one + 1]}{name[one]}{name[one + 2 :]}",
        f"{name[:two]}{name[two + 1 :]}",
        f"{name[:three]}{name[three]}{name[three:]}",
    ]


def _spacings(name: str) -> list[str]:
    letters = [letter for letter in name if not letter.isspace()]
    found = [" ".join(letters), "-".join(letters), "".join(letter for letter in letters if letter.isalnum())]
    if len(name.split()) > 1:
        return ["".join(name.split()), "-".join(name.split()), *found]
    half = len(name) // 2
    return [f"{name[:half]} {name[half:]}", *found] if half else found


def _exchanged(name: str, table: dict[str, str]) -> str:
    pairs = sorted((key for key in table if len(key) > 1), key=len)
    for pair in pairs:
        name = name.replace(pair, table[pair])
    return "".join(table.get(letter, letter) for letter in name)
