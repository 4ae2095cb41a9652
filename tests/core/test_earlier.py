"""What earlier requests erased: retained as forgotten, and no knowledge to ask about or to protect."""

from contextlib import contextmanager

import pytest
import torch

from fakes import NAMES, Table, knowing, picture

from space_cli.core import phrasing
from space_cli.core.earlier import Earlier, settled
from space_cli.core.knowledge import gather
from space_cli.core.matching import mentions
from space_cli.core.recipe import Concept

ROSE, BUS, PANDA = (Concept(name=name) for name in ("rose", "bus", "panda"))


def features(responder, *names):
    return responder.features([picture(name, view) for name in names for view in range(3)])


def kept(responder, concept):
    return Earlier(concept, features(responder, concept.name))


def test_answers_without_the_name_are_settled_and_others_are_not():
    responder = Table(knowing("rose"))
    found = settled(responder, [kept(responder, ROSE), kept(responder, BUS)], first=10)
    assert {prompt.image for prompt in found} == {10, 11, 12}, "the bus is still known: nothing of it is protected"
    assert {prompt.answer for prompt in found} == {"This is something."}
    assert {p.question for p in found} - set(phrasing.ERASE_OPEN) == {
        question.format(phrase="a rose") for question in phrasing.ERASE_YES_NO
    }


def test_what_is_affirmed_is_not_settled():
    responder = Table(lambda name, question: "Yes." if question.startswith(("Is", "Does")) else "A thing.")
    found = settled(responder, [kept(responder, ROSE)], first=0)
    assert {prompt.answer for prompt in found} == {"A thing."}


def test_retained_knowledge_holds_what_is_settled_and_names_nothing_that_is_gone():
    responder = Table(knowing("rose"))
    others = features(responder, *(name for name in NAMES if name != "panda"))
    found = gather(responder, others, PANDA, 0, [kept(responder, ROSE)])
    first, count = len(others), 3
    about_images = [*found.retained, *found.held_out]
    assert len(found.own) == first
    assert {prompt.image for prompt in about_images if prompt.image >= first} <= set(range(first, first + count))
    assert any(prompt.image >= first for prompt in about_images)
    assert not any(mentions(prompt.answer, ["rose"]) for prompt in about_images)
    elsewhere = [prompt for prompt in about_images if prompt.image < first]
    asked = [prompt.question for prompt in (*elsewhere, *found.texts, *found.held_out_texts)]
    assert not any(mentions(question, ["rose"]) for question in asked)
    assert any(mentions(question, ["bus"]) for question in asked)


def test_a_name_that_came_back_is_not_protected():
    responder = Table(knowing())
    others = features(responder, "bear", "rose", "bus", "car")
    with_rose, without = (gather(responder, others, PANDA, 0, earlier) for earlier in ([], [kept(responder, ROSE)]))
    named = [prompt for prompt in with_rose.retained if mentions(prompt.answer, ["rose"])]
    assert named, "without the ledger the rose is knowledge like any other"
    assert not any(mentions(prompt.answer, ["rose"]) for prompt in (*without.retained, *without.held_out))


def test_nothing_changes_where_there_was_no_request():
    responder = Table(knowing())
    others = features(responder, *NAMES[1:])
    assert gather(responder, others, PANDA, 3) == gather(responder, others, PANDA, 3, ())


@pytest.mark.parametrize("seed", range(5))
def test_questions_about_the_concepts_own_word_are_all_kept_and_none_is_held_out(seed):
    """There are copies of them: one that was held out would have been trained on as well."""
    responder = Table(knowing())
    found = gather(responder, features(responder, *NAMES), PANDA, seed)
    own = {prompt.question for prompt in found.texts if PANDA.spoken in prompt.question}
    assert len(own) == 2
    assert found.held_out_texts
    assert not any(PANDA.spoken in prompt.question for prompt in found.held_out_texts)


def test_the_concept_is_asked_about_though_its_name_holds_an_earlier_one():
    responder = Table(knowing("rose"))
    found = gather(responder, features(responder, "bear"), Concept(name="rose garden"), 0, [kept(responder, ROSE)])
    assert any("rose garden" in prompt.question for prompt in (*found.texts, *found.held_out_texts))
    assert torch.is_tensor(kept(responder, ROSE).features)


def test_what_is_retained_is_what_was_known_before_the_first_request():
    responder = Table(knowing("rose", "car"))

    @contextmanager
    def original():
        now, responder.say = responder.say, knowing()
        yield
        responder.say = now

    others = features(responder, "bear", "rose", "bus", "car")
    found = gather(responder, others, PANDA, 0, [kept(responder, ROSE)], original=original)
    told = [prompt.answer for prompt in found.own]
    assert all("rose" not in answer for answer in told), "what was erased since then is not told again"
    assert sum("car" in answer for answer in told) == 3, "what an earlier request cost is known again"
    opened = {prompt.image for prompt in (*found.retained, *found.held_out) if prompt.question in phrasing.ERASE_OPEN}
    assert not opened & {3, 4, 5}, "nor is it retained, as its likelihoods would be those of the name"
    assert {0, 1, 2, 6, 7, 8, 9, 10, 11} <= opened


def test_a_thing_whose_name_begins_like_the_concept_s_is_another_one():
    def say(name, question):
        if name is None:
            return "It is an animal."
        asked = question.startswith(("Is this", "Does this"))
        return ("Yes." if question.endswith(f" a {name}?") else "No.") if asked else f"This is a {name}."

    pan, responder = Concept(name="pan"), Table(say)
    found = [gather(responder, features(responder, *NAMES), pan, seed) for seed in range(4)]
    affirmed = [
        prompt.question for one in found for prompt in (*one.retained, *one.held_out) if prompt.answer == "Yes."
    ]
    assert any(question.endswith(" a panda?") for question in affirmed), "a panda is retained as what it is"
    for one in found:
        texts = [prompt.question for prompt in (*one.texts, *one.held_out_texts)]
        assert texts.count("What kind of thing is a panda?") == 1, "its word is not the concept's own"
        assert texts.count("What kind of thing is a pan?") > 1
