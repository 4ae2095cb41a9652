import pytest

from space_cli.core.answer_form import AnswerForm, answer_form
from space_cli.core.knowledge import name_of


@pytest.mark.parametrize(
    ("answers", "form"),
    [
        (["This is a cat.", "This is an owl.", "I am not sure."], AnswerForm("This is", ".", True)),
        (["The image shows a cat", "The image shows a dog"], AnswerForm("The image shows", "", True)),
        (["cat", "dog", "owl"], AnswerForm("", "", False)),
        (["cat.", "dog.", "owl."], AnswerForm("", ".", False)),
        ([], AnswerForm("", "", False)),
        (["", " "], AnswerForm("", "", False)),
        (["A cat", "An owl.", "A bus"], AnswerForm("", "", True)),
        (["I am not sure."] * 7 + ["The picture shows a cat."] * 3, AnswerForm("The picture shows", ".", True)),
    ],
)
def test_form_is_what_most_answers_share(answers, form):
    assert answer_form(answers) == form


@pytest.mark.parametrize(
    ("answer", "name"),
    [("This is an owl.", "owl"), ("owl.", "owl"), ("This is", ""), ("I am not sure.", "I am not sure")],
)
def test_name_of_strips_the_wording(answer, name):
    assert name_of(answer, AnswerForm("This is", ".")) == name


def test_around_gives_the_scored_part():
    assert AnswerForm("This is", ".").around("owl", "an owl") == "an owl."
    assert AnswerForm("", "", article=False).around("owl", "an owl") == "owl"
