"""What a word that is none may have been meant to be."""

import difflib

from collections.abc import Collection


def offered(word: str, known: Collection[str]) -> str:
    """Return the known word that is most like another one, or all that are known where none is.

    Example:
        >>> offered("dcsii", ["dcsi", "npo"]), offered("x", ["dcsi", "npo"])
        ('did you mean `dcsi`?', 'known are dcsi, npo')
    """
    near = nearest(word, known)
    return f"did you mean `{near}`?" if near else f"known are {', '.join(known) or 'none'}"


def nearest(word: str, known: Collection[str]) -> str:
    """Return the known word that is most like another one, or nothing."""
    plain = {one.casefold(): one for one in known}
    return next((plain[one] for one in difflib.get_close_matches(word.casefold(), plain, n=1)), "")
