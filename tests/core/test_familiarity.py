import random

import pytest

from space_cli.core import familiarity
from space_cli.core.familiarity import scrambled
from space_cli.core.recipe import Concept


@pytest.mark.parametrize("name", ["axe", "ox", "ice axe"])
def test_a_name_is_never_its_own_nonsense(name):
    found = scrambled(name, 200, random.Random(0))
    assert len(found) == 200
    assert name not in found
    for one in found:
        assert [sorted(word) for word in one.split()] == [sorted(word) for word in name.split()]


def test_a_name_of_one_letter_alone_has_no_other_order():
    assert scrambled("aaa", 2, random.Random(0)) == ["aaa", "aaa"]


def test_no_order_of_letters_comes_twice_while_there_are_others():
    assert len(set(scrambled("oar", 5, random.Random(0)))) == 5
    assert len(set(scrambled("oar", 6, random.Random(0)))) == 5


def test_one_scrambled_name_that_is_reached_does_not_make_the_concept_unknown(monkeypatch):
    heard = iter([-4.0, -12.0, -12.5])
    monkeypatch.setattr(familiarity, "_reached", lambda _, one, *__: 0.0 if one.name == "oar" else next(heard))
    found = familiarity.familiarity(None, Concept(name="oar"), {}, None, seed=0)
    assert found.reached == 0.0
    assert found.nonsense == -12.0
