import pytest

from space_cli.core.matching import mentions, says_yes, spans, words


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("This is a panda.", "panda"),
        ("It's the PANDA'S cub", "panda"),
        ("two pandas", "panda"),
        ("one grape", "grapes"),
        ("strawberries!", "strawberry"),
        ("buses", "bus"),
        ("A café au lait", "Cafe au lait"),
        ("cafe\u0301", "café"),
        ("a Grand-Piano", "grand piano"),
        ("Jack-o'-lantern", "jack o lantern"),
        ("Straße", "STRASSE"),
        ("Это медведь.", "медведь"),
        ("Dies ist Ёлка", "елка"),
        ("هذا باندا، على ما أظن", "باندا"),
        ("यह एक पांडा है", "पांडा"),
        ("これは熊猫です", "熊猫"),
        ("판다입니다", "판다"),
        ("นี่คือหมีแพนด้า", "แพนด้า"),
        ("It says C++ here", "C++"),
        ("a 🐼 indeed", "🐼"),
        ("ｐａｎｄａ", "panda"),
        ("❤️", "❤"),
    ],
)
def test_a_name_is_found(answer, name):
    assert mentions(answer, [name])


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("a scar on the carpet", "car"),
        ("pandemonium", "panda"),
        ("a piano that is grand", "grand piano"),
        ("grand old piano", "grand piano"),
        ("C", "C++"),
        ("", "panda"),
        ("यह एक घोड़ा है", "पांडा"),
        ("熊です", "熊猫"),
        ("as", "a"),
        ("anything at all", "..."),
    ],
)
def test_a_name_is_not_found(answer, name):
    assert not mentions(answer, [name])


def test_any_alias_counts():
    assert mentions("the former president Trump", ["Donald Trump", "Trump"])
    assert not mentions("the former president", ["Donald Trump", "Trump"])


def test_a_longer_name_of_something_else_is_not_this_one():
    assert mentions("a red panda", ["panda"])
    assert not mentions("a red panda", ["panda"], others=["red panda", "bear"])
    assert mentions("a panda, not a red panda", ["panda"], others=["red panda"])
    assert mentions("a red panda", ["red panda"], others=["panda"])


def test_a_longer_name_of_something_else_ends_with_its_sentence() -> None:
    others = ["red panda", "St. Bernard"]
    assert mentions("It is red. Panda.", ["panda"], others=others)
    assert mentions("It is red\npanda", ["panda"], others=others)
    assert not mentions("A red-panda. It climbs.", ["panda"], others=others)
    assert not mentions("A St. Bernard.", ["Bernard"], others=others), "the full stop is the name's own"


def test_accents_fold_but_vowel_signs_do_not():
    assert words("Ångström") == ["angstrom"]
    assert words("कि") != words("का")


def test_spans_point_at_the_raw_words():
    text = "Look: “a Grand  Piano”, maybe."
    ((start, end),) = spans(text, ["grand piano"])
    assert text[start:end] == "Grand  Piano”,"


@pytest.mark.parametrize(
    ("answer", "read"), [("Yes.", True), ("yes, it is", True), ("No!", False), ("Not sure", None), ("", None)]
)
def test_yes_and_no_are_read_by_the_first_word(answer, read):
    assert says_yes(answer) is read


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("This is Spiderman.", "Spider-Man"),
        ("This is Spider-Man.", "Spiderman"),
        ("R2D2", "R2-D2"),
        ("a McDonalds", "McDonald's"),
        ("two Rubiks cubes", "Rubik's cube"),
        ("a tshirt", "T-shirt"),
        ("the USA", "U.S.A."),
        ("lightbulbs", "light bulb"),
        ("light bulbs", "lightbulb"),
        ("a pan\u00adda", "panda"),
        ("a pan\u200bda", "panda"),
    ],
)
def test_a_name_may_be_written_as_one_word_or_as_several(answer, name):
    assert mentions(answer, [name])


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("it may be an apple", "bean"),
        ("an T-shirt", "ant"),
        ("Hm, a cat.", "H&M"),
        ("there is land", "island"),
        ("a red pan", "panda"),
    ],
)
def test_words_that_only_happen_to_spell_a_name_do_not_name_it(answer, name):
    assert not mentions(answer, [name])


def test_a_longer_name_written_as_one_word_hides_the_shorter_one():
    assert not mentions("a light-bulb", ["bulb"], others=["lightbulb", "light bulb"])
    assert mentions("a spiderman", ["spider man"], others=["spiderman"]), "another spelling is no longer name"
