"""That the tokenizer of somebody else makes no text of a few words into one that no memory holds."""

import json

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from space_cli.core.errors import REFETCH, ArtifactFault
from space_cli.io.storage import read_small

GROWTH = 1_000
"""Times that a text may grow before it is cut into tokens, or after they are put together."""
MAPPED = 16
"""Characters that a table of characters puts in the place of one, where it is that of a known normal form."""


def refuse_growing(folder: Path) -> None:
    """Refuse a `tokenizer.json` whose rules, one after the other, would double a text again and again.

    Args:
        folder: A checkpoint; one without such a file has other rules, which cannot.

    Raises:
        ArtifactFault: One would, or it is not JSON.
    """
    for path in sorted(folder.glob("tokenizer*.json")):
        try:
            told = json.loads(read_small(path))
        except (ValueError, RecursionError) as failure:
            raise ArtifactFault(f"`{path}` is not JSON: {failure}", hint=REFETCH) from None
        for part in ("normalizer", "decoder"):
            rules = list(_rules(told.get(part) if isinstance(told, dict) else None))
            growth = 1.0
            for rule in rules:
                growth *= _growth(rule)
            if growth > GROWTH or sum(rule.get("type") == "Precompiled" for rule in rules) > 1:
                raise ArtifactFault(
                    f"`{path}` makes a text more than {GROWTH:,} times as long by its `{part}`: refused",
                    hint=REFETCH,
                )


def _rules(rule: object) -> Iterator[Mapping[str, Any]]:
    """Go through rules one by one, those of a sequence in place of it."""
    waiting = [rule]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += [
                each for key in ("normalizers", "decoders") if isinstance(one.get(key), list) for each in one[key]
            ]


def _growth(rule: Mapping[str, Any]) -> float:
    """Return how many times as long a rule makes a text at most."""
    if rule.get("type") == "Precompiled":
        return MAPPED
    if rule.get("type") != "Replace":
        return 1.0
    pattern, content = rule.get("pattern"), len(str(rule.get("content", "")))
    said = pattern.get("String") if isinstance(pattern, dict) else None
    # An expression may match a single character, or none between two.
    return max(1.0, content / len(said) if isinstance(said, str) and said else 1.0 + content)
