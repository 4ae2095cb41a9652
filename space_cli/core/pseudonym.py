"""A concept under another name: every spelling of it in a text replaced by a hash that only a key can make.

The pseudonym is an HMAC-SHA-256 of the name, so whoever has the key can tell whether a report is about a name, and
nobody else can find out by trying names. A text is searched after folding case, accents and width, for the given names
however their words are joined ("grand piano", "Grand_Piano", "grand%20pianos"), in the other scripts, spacings, typos
and disguises of `core.spelling`, and for single words of a name of several: in any case where the word was given with a
capital ("Donald Trump"), else only where the text has one. So "donald trump" hides "Trump" and not "a trump card", and
"grand piano" leaves "a piano": a report without any word that is part of some name would say little. What that costs:
an ordinary word that begins a sentence is hidden too, and "trump" in lower case is not.

References:
    HMAC: Keyed-Hashing for Message Authentication (Krawczyk, Bellare, Canetti, 1997), RFC 2104, section 3: keys as long
    as the hash.
"""

import hashlib
import hmac
import re
import unicodedata

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from space_cli.core.errors import SpaceError, UsageFault
from space_cli.core.matching import words
from space_cli.core.recipe import Concept
from space_cli.core.spelling import LOOKALIKES, SURE, spellings

LEAST_KEY = 32  # bytes, as long as the hash
PREFIX = "concept-"
DIGITS = 32  # hexadecimal, 128 bits: no two names of anybody's have the same
KEY_DIGITS = 16
NAME_DOMAIN, KEY_DOMAIN = b"space-cli name\0", b"space-cli key\0"
"""Before what is hashed, so that a pseudonym is never the id of a key."""
ARTICLES = ("a", "an", "the")
LEAST_PART = 4
"""Letters of a capitalised word that stands for a proper name by itself: "Trump", not "New"."""
BINDING = ("from", "into", "over", "that", "this", "under", "with")
"""Words of as many letters that only hold a name together."""
JOINT = r"(?:%20|[\W_]){0,3}"
"""Between the words of a name: spaces, dashes, underscores, or nothing."""
_HEXADECIMAL = re.compile(r"[0-9a-f\W_]*")
_CLUSTER = re.compile(r".[\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\u200d]*", re.DOTALL)
"""A character with the marks that change it."""
_LATIN = str.maketrans({other: letter for letter, other in LOOKALIKES.items()})
_MARKS = re.compile(r"[\u0300-\u036f\ufe00-\ufe0f\u200d]")


def check_key(key: bytes) -> None:
    """Refuse a key that could be guessed.

    Raises:
        UsageFault: It is empty or shorter than the hash.
    """
    if len(key) < LEAST_KEY:
        found = f"has {len(key)} bytes" if key else "is empty"
        raise UsageFault(
            f"the key for pseudonyms {found}: at least {LEAST_KEY} are needed",
            hint="openssl rand -hex 32 > pseudonym.key",
        )


@dataclass(frozen=True)
class _Hidden:
    """One way to write a name, as it is searched for in a folded text."""

    pattern: re.Pattern[str]
    text: str  # what takes its place
    bound: str  # "nowhere": also inside of words; "words"; "digits": not beside a digit either
    capital: bool = False  # only where the text has a capital there

    def counts(self, text: str, start: int, end: int) -> bool:
        """Tell whether what was found there is this name."""
        return (not self.capital or text[start].isupper()) and _bounded(text, start, end, self.bound)


class Pseudonym:
    """The names of a concept, and what stands for them.

    Args:
        concept: With all its names.
        key: At least `LEAST_KEY` bytes; it stays in memory.
        others: More concepts that must not be named, each of which gets a pseudonym of its own.

    Raises:
        UsageFault: The key is too short, or a name has no letter, digit or symbol.
    """

    def __init__(self, concept: Concept, key: bytes, others: Sequence[Concept] = ()) -> None:
        check_key(key)
        self._key = key
        self.text = self.of(concept.name)
        self.key_id = hmac.new(key, KEY_DOMAIN, hashlib.sha256).hexdigest()[:KEY_DIGITS]
        hidden = [one for each in (concept, *others) for one in _hidden(each, self.of(each.name))]
        # The longest first, so that no name leaves the rest of a longer one behind.
        self._hidden = sorted(hidden, key=lambda one: -len(one.pattern.pattern))

    def of(self, name: str) -> str:
        """Return the pseudonym of any name; its case, accents and punctuation do not count."""
        spoken = words(name)
        if not spoken:
            raise UsageFault(
                "a name without any letter, digit or symbol has no pseudonym",
                hint="check `--concept`: perhaps a variable of the shell was not set",
            )
        digest = hmac.new(self._key, NAME_DOMAIN + " ".join(spoken).encode(), hashlib.sha256).hexdigest()
        return f"{PREFIX}{digest[:DIGITS]}"

    def mask(self, text: str) -> str:
        """Return a text in which every spelling of the names is replaced."""
        folded, places = _folded(text)
        taken: list[tuple[int, int, str]] = []
        for one in self._hidden:
            for match in one.pattern.finditer(folded):
                start, end = places[match.start()], places[match.end()]
                if one.counts(text, start, end) and not _overlaps(taken, start, end):
                    taken.append((start, end, one.text))
        for start, end, stand_in in sorted(taken, reverse=True):
            text = text[:start] + stand_in + text[end:]
        return text

    def tells(self, text: str) -> bool:
        """Tell whether a text names a concept."""
        return self.mask(text) != text

    def fault(self, fault: SpaceError) -> SpaceError:
        """Return an error of the same kind that names nothing."""
        return type(fault)(self.mask(fault.message), hint=self.mask(fault.hint), figures=fault.figures)


def _hidden(concept: Concept, text: str) -> Iterator[_Hidden]:
    names = dict.fromkeys((*concept.names, _bare(concept.spoken)))
    for name in names:
        for spelt in dict.fromkeys((name, *_spelt(name))):
            if words(spelt):
                yield _Hidden(_pattern(spelt), text, _bound(spelt))
        for part in _parts(name):
            yield _Hidden(_pattern(part), text, "words", capital=not part[0].isupper())


def _spelt(name: str) -> Iterable[str]:
    return (one.text for one in spellings([name], others=(), seed=0) if one.sure or one.kind == "given")


def _bare(phrase: str) -> str:
    first, _, rest = phrase.partition(" ")
    return rest if first.lower() in ARTICLES and rest else phrase


def _parts(name: str) -> list[str]:
    """Return the words of a name of several that may stand for it, those in scripts without capitals left out."""
    found = name.split()
    cased = [part for part in found if len(found) > 1 and part[0].lower() != part[0].upper()]
    return [part for part in cased if len(part) >= LEAST_PART and part.lower() not in BINDING]


def _pattern(name: str) -> re.Pattern[str]:
    spoken = words(_folded(name)[0])
    *before, last = [re.escape(word) for word in spoken]
    if spoken[-1].isascii() and spoken[-1].isalpha():
        last = f"{last[:-1]}(?:y|ies)" if last.endswith("y") else f"{last}(?:e?s)?"
    return re.compile(JOINT.join([*before, last]))


def _bound(name: str) -> str:
    """Say where a name counts: a short one inside of other words is another word, in hexadecimal digits chance."""
    folded = _folded(name)[0]
    if _HEXADECIMAL.fullmatch(folded) and any(character.isalnum() for character in folded):
        return "digits"
    letters = sum(character.isalpha() for character in folded)
    unspaced = len(words(name)) > len(re.findall(r"\w+", folded))
    return "words" if 0 < letters < SURE and not unspaced else "nowhere"


def _folded(text: str) -> tuple[str, list[int]]:
    """Return a text without case, accents, width and disguise, and for each place in it the place in the text."""
    parts: list[str] = []
    places: list[int] = []
    for found in _CLUSTER.finditer(text):
        plain = _MARKS.sub("", unicodedata.normalize("NFKD", found[0]).casefold())
        # Marks that are no accents make another letter: "パ" is not "ハ".
        plain = unicodedata.normalize("NFC", plain).translate(_LATIN)
        parts.append(plain)
        places += [found.start()] * len(plain)
    return "".join(parts), [*places, len(text)]


def _bounded(text: str, start: int, end: int, bound: str) -> bool:
    if bound == "nowhere":
        return True
    edges = [(text[place - 1], text[place]) for place in (start, end) if 0 < place < len(text)]
    if bound == "digits":
        return not any(left.isalnum() and right.isalnum() for left, right in edges)
    # "eraseOwl" has a boundary inside, "bowl" has none.
    return all(
        not (left.isalpha() and right.isalpha()) or (left.islower() and right.isupper()) for left, right in edges
    )


def _overlaps(taken: Iterable[tuple[int, int, str]], start: int, end: int) -> bool:
    return any(start < other_end and other_start < end for other_start, other_end, _ in taken)
