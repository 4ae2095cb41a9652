import random

import pytest

from space_cli.core.familiarity import scrambled


@pytest.mark.parametrize("name", ["axe", "ox", "ice axe"])
def test_a_name_is_never_its_own_nonsense(name):
    found = scrambled(name, 200, random.Random(0))
    assert len(found) == 200
    assert name not in found
    for one in found:
        assert [sorted(word) for word in one.split()] == [sorted(word) for word in name.split()]


def test_a_name_of_one_letter_alone_has_no_other_order():
    assert scrambled("aaa", 2, random.Random(0)) == ["aaa", "aaa"]
