from dataclasses import replace

import pytest

from fakes import probe

from space_cli.core.attacking import nonsense_of


@pytest.mark.parametrize(("name", "phrase"), [("owl", "an owl"), ("elephant", "an elephant"), ("lama", "a lama")])
def test_a_name_that_nobody_knows_has_the_article_that_its_own_first_letter_asks_for(name, phrase):
    """Else an attack that teaches it has bad grammar to teach as well, and the concept comes back sooner."""
    looks = [replace(probe(), name=name, phrase=phrase, aliases=(name,), seed=seed) for seed in range(20)]
    found = [nonsense_of(look) for look in looks]
    assert {one.phrase for one in found} == {f"{_article(one.name)} {one.name}" for one in found}
    assert {_article(one.name) for one in found} == {"a", "an"}, "scrambled names begin with either"
    assert all(sorted(one.name) == sorted(name) != list(name) for one in found)


def test_a_proper_name_gets_none():
    assert nonsense_of(replace(probe(), name="Mount Fuji", phrase="Mount Fuji")).phrase[:2].lower() not in {"a ", "an"}


def _article(name):
    return "an" if name[0] in "aeiou" else "a"
