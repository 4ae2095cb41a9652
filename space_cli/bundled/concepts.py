"""The named things the bundled checkpoint knows, read from `concepts.toml`."""

import tomllib

from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Drawn:
    """One named concept of the bundled checkpoint."""

    name: str  # lower case, without an article: "panda", "statue of liberty"
    symbol: str  # the Unicode character whose drawing shows it
    kind: str  # "animal", "food", …
    home: str  # where it is found, the second text-only fact

    @property
    def phrase(self) -> str:
        """Return the name with its article, as the model writes it."""
        return with_article(self.name)


@cache
def drawn_concepts() -> tuple[Drawn, ...]:
    """Return every named concept, in the order of the file."""
    text = resources.files(__package__).joinpath("concepts.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["concepts"]
    return tuple(Drawn(name, symbol, kind, home) for kind, entries in rows.items() for symbol, name, home in entries)


@cache
def unnamed_kinds() -> tuple[tuple[int, int, str], ...]:
    """Return the code point ranges whose unnamed drawings still have a known kind."""
    text = resources.files(__package__).joinpath("concepts.toml").read_text(encoding="utf-8")
    ranges = tomllib.loads(text)["unnamed"]
    return tuple((int(first, 16), int(last, 16), kind) for kind, spans in ranges.items() for first, last in spans)


def find(name: str) -> Drawn | None:
    """Return the concept called `name`, ignoring case, or None."""
    wanted = " ".join(name.lower().split())
    return next((concept for concept in drawn_concepts() if concept.name == wanted), None)


def with_article(name: str) -> str:
    """Return `name` with the article English puts before it.

    Example:
        >>> with_article("owl"), with_article("statue of liberty"), with_article("jeans")
        ('an owl', 'the statue of liberty', 'jeans')
    """
    if name in {"statue of liberty", "tokyo tower", "moon", "sun"}:
        return f"the {name}"
    if name in {"mount fuji", "santa claus"} or name.endswith(("jeans", "socks", "gloves", "fries")):
        return name
    if name in {"grapes", "scissors", "cheese", "food", "clothing", "furniture", "boxing equipment"}:
        return name
    return f"an {name}" if name[0] in "aeiou" and not name.startswith("uni") else f"a {name}"
