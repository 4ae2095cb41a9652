import random

import pytest
import subjects
import torch

from space_cli.core import familiarity
from space_cli.core.familiarity import scrambled
from space_cli.core.naming import Naming
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


def test_a_scrambled_name_stands_where_the_concept_stands_in_a_sentence(monkeypatch):
    heard = []
    monkeypatch.setattr(familiarity, "_reached", lambda _, one, *__: heard.append(one) or 0.0)
    for concept in (
        Concept(name="owl"),
        Concept(name="eft"),
        Concept(name="Mount Fuji"),
        Concept(name="oar", phrase="the oar"),
    ):
        familiarity.familiarity(None, concept, {}, None, seed=0)
    said = {one.name: one.spoken for one in heard}
    assert {"owl": "an owl", "eft": "an eft", "Mount Fuji": "Mount Fuji", "oar": "the oar"}.items() <= said.items()
    for name, spoken in said.items():
        letters = "".join(sorted(name.lower()))
        if letters in {"low", "eft"}:
            assert spoken == f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
        else:
            assert spoken == (f"the {name}" if letters == "aor" else name)
    assert {"a", "an"} <= {spoken.split()[0] for spoken in said.values()}


def test_an_article_that_is_told_of_anything_makes_no_name_likelier():
    found = subjects.context()
    features = found.of_role("forget")[:4]
    made = {
        phrase: Naming(found.responder, Concept(name="snorble", phrase=phrase), found.knowledge.forms, 0)
        for phrase in ("a snorble", "snorble")
    }
    flattered, bare = made["a snorble"].activation(features), made["a snorble"].bare(features)
    assert (flattered > bare).all()
    assert torch.equal(made["snorble"].bare(features), made["snorble"].activation(features))


def test_how_far_a_push_gets_is_told_by_the_name_after_its_article(monkeypatch):
    found = subjects.context()
    features, forms = found.of_role("forget")[:4], found.knowledge.forms
    monkeypatch.setattr(familiarity, "harden", lambda _, proxies, *__: proxies)
    reached = familiarity._reached(found.responder, found.concept, forms, features, 0)
    bare = Naming(found.responder, found.concept, forms, 0).bare(features)
    assert reached == pytest.approx(float(bare.max()), abs=1e-5)
