"""A name that no answer could hold is refused before anything is trained on it."""

import pytest

from pydantic import ValidationError

from space_cli.core.recipe import Concept


@pytest.mark.parametrize("name", ["", " ", "...", "\u200b", "_"])
def test_a_name_without_a_word_is_refused(name):
    with pytest.raises(ValidationError, match=r"no letter, digit or symbol|is empty"):
        Concept(name=name)
    with pytest.raises(ValidationError, match="no letter, digit or symbol"):
        Concept(name="panda", aliases=("bear", name))


@pytest.mark.parametrize("name", ["C++", "7", "\U0001f43c", "\u718a"])
def test_symbols_digits_and_other_scripts_are_names(name):
    assert Concept(name=name, aliases=(name,)).names == (name,)
