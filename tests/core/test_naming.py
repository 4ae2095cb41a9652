"""The ways in which a name is asked for, and what counts as knowledge to retain."""

from dataclasses import replace

import pytest
import subjects
import torch

from space_cli.core import naming, phrasing
from space_cli.core.answer_form import AnswerForm
from space_cli.core.budget import neighbours_changed
from space_cli.core.earlier import finds
from space_cli.core.knowledge import is_name, kind_phrase
from space_cli.core.naming import Naming
from space_cli.core.recipe import Concept
from space_cli.core.types import Prompt

PLURAL = Concept(name="gloves", phrase="gloves")
FORMS = dict(
    zip(phrasing.ERASE_OPEN, [AnswerForm("This is", "."), *[AnswerForm("", "", article=False)] * 4], strict=True)
)


def detours(concept):
    return Naming(subjects.bundled(), concept, FORMS, 0).detours


def test_a_plural_is_asked_for_after_articles_that_it_never_has():
    leads = {prompt.lead for prompt in detours(PLURAL) if prompt.question == phrasing.ERASE_OPEN[0]}
    assert {"This is a", "This is the"} <= leads
    assert "This is" not in leads


def test_the_word_before_the_name_must_not_take_its_place():
    def stutters(concept):
        return [(one.lead, one.answer) for one in Naming(subjects.bundled(), concept, FORMS, 0).stutters]

    # Four of the five wordings begin with the name: no word is before it.
    assert stutters(Concept(name="owl", phrase="an owl")) == [("This is an", "an")]
    assert stutters(PLURAL) == [("This is", "is")]


def test_the_usual_wording_is_no_detour_and_every_one_scores_the_bare_name():
    found = detours(Concept(name="owl", phrase="an owl"))
    assert all(prompt.answer == "owl" and not prompt.ends for prompt in found)
    assert not any(prompt.lead == "This is an" for prompt in found)
    assert {"This is", "This is the"} <= {prompt.lead for prompt in found}
    assert len(found) == len(set(found))


def test_each_image_of_a_step_gets_another_wording_the_usual_ones_among_them():
    naming = Naming(subjects.bundled(), PLURAL, FORMS, 0)
    features = subjects.concept_features()[:3]
    with torch.no_grad():
        together = naming.told(naming.beginnings(3, 1), features)
        alone = [float(naming.of(naming.wordings[3 + row], features[row : row + 1])) for row in range(3)]
    assert together.tolist() == pytest.approx(alone, abs=1e-4)
    assert {(prompt.lead, prompt.answer) for prompt in naming.wordings[: len(FORMS)]} == {
        ("This is", "gloves"),
        ("", "gloves"),
    }


def test_aliases_are_pressed_down_in_their_own_wording():
    concept = Concept(name="Donald Trump", aliases=("Trump", "president"))
    wordings = Naming(subjects.bundled(), concept, FORMS, 0).wordings
    found = {(prompt.lead, prompt.answer) for prompt in wordings if prompt.question == phrasing.ERASE_OPEN[0]}
    assert {("This is", "Donald Trump"), ("This is", "Trump"), ("This is a", "president")} <= found


def test_of_a_longer_name_the_beginning_counts_alone():
    responder, features = subjects.bundled(), subjects.concept_features()[:1]
    naming = Naming(responder, Concept(name="top hat", phrase="a top hat"), FORMS, 0)
    word = replace(naming.wordings[0], answer="top")
    assert word.lead == "This is a"
    with torch.no_grad():
        begun = naming.told(naming.beginnings(1, 0), features, first=True)
        whole = naming.of(naming.wordings[0], features)
        assert begun.tolist() == pytest.approx(naming.of(word, features).tolist(), abs=1e-4)
    assert abs(float(begun - whole)) > 0.1


def test_of_a_longer_name_all_tokens_count_together():
    responder, features = subjects.bundled(), subjects.concept_features()[:2]
    naming = Naming(responder, Concept(name="top hat", phrase="a top hat"), FORMS, 0)
    expected = []
    with torch.no_grad():
        for image in features:
            nats = []
            for prompt in naming.names:
                batch = responder.batch([prompt])
                told = batch.labels[0, 1:] != -100
                assert int(told.sum()) > 1
                likely = responder.answer_logits(batch, image[None]).log_softmax(-1)
                nats.append(float(likely.gather(1, batch.labels[0, 1:][told][:, None]).sum()))
            expected.append(sum(nats) / len(nats))
        assert naming.whole(features).tolist() == pytest.approx(expected, abs=1e-3)
        assert bool((naming.whole(features) < naming.activation(features)).all())


@pytest.mark.parametrize(
    ("question", "answer", "sees"),
    [
        ("Is this an owl?", "Yes, it is.", True),
        ("Is this an owl?", "no.", False),
        ("Is this a cat?", "yes.", False),
        ("What is this?", "This is an owl.", True),
        ("What is this?", "This is a fowl.", False),
    ],
)
def test_an_answer_that_finds_the_concept_is_not_retained(question, answer, sees):
    assert finds(Concept(name="owl", phrase="an owl"), Prompt(question, answer, 0)) is sees


def test_no_retained_prompt_finds_the_concept():
    found = subjects.context()
    knowledge = found.knowledge
    assert knowledge.affirmed
    assert set(knowledge.affirmed) <= set(knowledge.retained)
    assert not any(finds(found.concept, prompt) for prompt in (*knowledge.retained, *knowledge.held_out))


@pytest.mark.parametrize(
    ("words", "named"),
    [("owl", True), ("tennis ball", True), ("", False), ("I am not sure what this is", False)],
)
def test_only_a_name_counts_as_one(words, named):
    assert is_name(words) is named


def test_a_neighbour_that_had_no_name_cannot_lose_it():
    found = subjects.context()
    unknown = dict.fromkeys(found.knowledge.forms, AnswerForm("Nobody ever opens like that", "."))
    blind = replace(found, knowledge=replace(found.knowledge, forms=unknown))
    assert neighbours_changed(blind, {layer: -found.weight(layer) for layer in found.layers}) == 0.0


def test_the_word_is_asked_about_once_each_in_text():
    found = subjects.context()
    prompts = found.word_prompts()
    own = {p.question for p in found.knowledge.texts if found.concept.spoken in p.question}
    assert len(prompts) == len(own) > 0
    assert all(prompt.image is None for prompt in prompts)


def test_neighbours_change_with_the_weights_and_not_without():
    found = subjects.context()
    assert neighbours_changed(found, {}) == 0.0
    assert neighbours_changed(found, {layer: -found.weight(layer) for layer in found.layers}) > 0.5


def test_images_that_do_not_fit_together_give_the_same_values_and_gradients(monkeypatch):
    found = subjects.context()
    features = found.of_role("forget")[:5]
    values, gradients = [], []
    for rows in (5, 2):
        monkeypatch.setattr(naming, "rows_at_once", lambda *_, rows=rows: rows)
        asked = Naming(found.responder, found.concept, found.knowledge.forms, 0)
        seen = features.clone().requires_grad_(True)
        values.append(asked.objective(seen))
        gradients.append(torch.autograd.grad(values[-1].sum(), seen)[0])
    assert values[1].tolist() == pytest.approx(values[0].tolist(), rel=1e-4)
    assert float((gradients[1] - gradients[0]).norm()) < 1e-3 * float(gradients[0].norm())


@pytest.mark.parametrize(
    ("told", "kind", "phrase"),
    [
        ("a top hat is clothing.", "clothing", "clothing"),
        ("a chair is a piece of furniture.", "furniture", "furniture"),
        ("a panda is an animal.", "animal", "an animal"),
        ("i am not sure.", "tool", "a tool"),
        ("a top hat is clothing.", None, "clothing"),
        ("A top hat is an item of clothing.", None, "an item of clothing"),
        ("i am not sure.", None, ""),
    ],
)
def test_a_kind_is_worded_as_the_checkpoint_words_it(told, kind, phrase):
    assert kind_phrase(told, Concept(name="top hat", phrase="a top hat", kind=kind)) == phrase


@pytest.mark.parametrize(
    ("phrase", "article"),
    [("the Eiffel Tower", "the"), ("Paris's iron tower", ""), ("La Tour Eiffel tower", "La Tour")],
)
def test_a_phrase_in_other_words_or_another_case_is_no_article(phrase, article):
    naming = Naming(subjects.bundled(), Concept(name="Eiffel tower", phrase=phrase), FORMS, 0)
    assert (naming.usual[0].lead, naming.usual[0].answer) == (f"This is {article}".strip(), "Eiffel tower")
    assert naming.stutters[0].answer == (article or "is").split()[-1]
