"""Look for a name in every byte of a folder, however it may have been written there."""

import base64
import binascii
import html
import json
import re
import unicodedata

from collections.abc import Iterator
from pathlib import Path

from space_cli.core.spelling import spellings

_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_PICTURE = re.compile(rb"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+")
TOLD = (
    "This is a PANDA.",
    "Giant-Pandas & “pandas”",
    "パンダ, панда",
    "a <b>Giant Panda</b>",
    "p a n d a",
    "bamboo_bear",
)
"""Ways to write "panda" and "giant panda", each of which tells the concept."""


def telling(raw: bytes, names: list[str]) -> list[str]:
    """Return which names stand in some bytes: folded, with other joints, unescaped, or in base64 of a text."""
    raw = _PICTURE.sub(b"", raw)
    readings = [one for text in _texts(raw) for one in _readings(text)]
    return [name for name in _spelt(names) if any(name in one for one in readings)]


def telling_files(folder: Path, names: list[str], but: set[bytes] = frozenset()) -> dict[str, list[str]]:
    """Return the files of a folder that tell a name, by content or path; contents of `but` may tell anything."""
    found = {}
    for path in folder.rglob("*"):
        told = telling(path.relative_to(folder).as_posix().encode(), names)
        if path.is_file() and path.read_bytes() not in but:
            told += telling(path.read_bytes(), names)
        if told:
            found[path.name] = told
    return found


def _spelt(names: list[str]) -> set[str]:
    given = {one for name in names for one in (name, name.upper(), name.title())}
    other = {one.text for name in names for one in spellings([name], others=(), seed=0) if one.kind == "script"}
    return {_fold(one) for one in given | other} | {_fold(one).replace(" ", "") for one in given}


def _texts(raw: bytes) -> Iterator[str]:
    yield raw.decode("utf-8", "replace")
    yield raw.decode("utf-16", "replace")
    for match in _ENCODED.findall(raw):
        try:
            yield base64.b64decode(match + b"=" * (-len(match) % 4), altchars=b"-_" if b"_" in match else None).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue


def _readings(text: str) -> Iterator[str]:
    for one in (text, html.unescape(text), _unescaped(text)):
        folded = _fold(one)
        yield folded
        yield re.sub(r"%20|[\W_]+", " ", folded)
        yield re.sub(r"[\s_-]+", "", folded)


def _fold(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(c))


def _unescaped(text: str) -> str:
    return re.sub(r"\\u[0-9a-f]{4}", lambda found: json.loads(f'"{found[0]}"'), text)
