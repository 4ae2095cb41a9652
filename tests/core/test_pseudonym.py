"""A pseudonym replaces every spelling of a name, and nothing that is another word."""

import hmac
import re

import pytest

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.pseudonym import Pseudonym, check_key
from space_cli.core.recipe import Concept

KEY = b"k" * 32


def pseudonym(name="grand piano", **more):
    return Pseudonym(Concept(name=name, **more), KEY)


def test_it_is_a_keyed_hash_of_the_name_whatever_its_case():
    wanted = hmac.new(KEY, b"space-cli name\0grand piano", "sha256").hexdigest()
    assert pseudonym().text == f"concept-{wanted[:32]}"
    assert pseudonym().of("Grand  PIANO!") == pseudonym().text
    assert Pseudonym(Concept(name="grand piano"), b"l" * 32).text != pseudonym().text
    assert pseudonym("owl").text != pseudonym().text


def test_the_id_of_a_key_tells_keys_apart_and_is_no_pseudonym():
    assert pseudonym().key_id == pseudonym("owl").key_id
    assert pseudonym().key_id != Pseudonym(Concept(name="owl"), b"l" * 32).key_id
    assert KEY.hex() not in pseudonym().key_id


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 31])
def test_a_key_that_could_be_guessed_is_refused(key):
    with pytest.raises(UsageFault, match="the key for pseudonyms"):
        check_key(key)


@pytest.mark.parametrize(
    "text",
    [
        "grand piano", "This is a Grand Piano.", "GRAND PIANOS", "grand_piano", "grand-piano", "grandpiano",
        "/data/Grand_Piano/00.png", "file:///grand%20piano/x", "grand\npiano", "grand  piano", "ｇｒａｎｄ ｐｉａｎｏ",
        "gránd piáno", "gra\u0301nd piano", "myGrandPianos2", "гранд пиано", "grаnd piаno", "gr4nd p14n0",
        "g r a n d p i a n o",
    ],
)  # fmt: skip
def test_every_spelling_is_replaced(text):
    found = pseudonym().mask(text)
    assert pseudonym().text in found
    assert pseudonym().tells(text)
    assert not pseudonym().tells(found)


@pytest.mark.parametrize(
    "text", ["", "a grand old piano player", "a piano", "grand", "text_knowledge ≥ 0.9", "ab" * 32]
)
def test_other_words_stay(text):
    assert pseudonym().mask(text) == text


def test_what_stands_around_a_name_stays():
    assert pseudonym().mask("<A Grand Piano's lid>") == f"<A {pseudonym().text}'s lid>"
    twice = pseudonym().mask("grand piano, grand piano")
    assert twice == f"{pseudonym().text}, {pseudonym().text}"


@pytest.mark.parametrize("text", ["text_knowledge", "a bowl", "howling", "OWLET is another"])
def test_a_short_name_inside_of_a_word_is_another_word(text):
    assert pseudonym("owl").mask(text) == text


@pytest.mark.parametrize("text", ["an owl", "OWLS", "eraseOwl", "llava-without-owl", "owl_01.png", "owl2"])
def test_a_short_name_counts_where_a_word_begins(text):
    assert pseudonym("owl").tells(text)


def test_names_of_hexadecimal_digits_leave_digests_alone():
    digest = "0badcafe7747" * 5
    for name in ("cafe", "747", "bad", "facade"):
        assert pseudonym(name).mask(digest) == digest
        assert pseudonym(name).tells(f"a {name}!")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("熊猫", "これは熊猫です"),
        ("パンダ", "ハ\u309aンタ\u3099"),
        ("🐼", "a🐼b"),
        ("C++", "in C++!"),
        ("lady", "ladies"),
    ],
)
def test_names_in_any_script(name, text):
    assert pseudonym(name).tells(text)


def test_aliases_phrase_and_a_proper_names_parts_are_hidden():
    trump = pseudonym("Donald Trump", aliases=("the 45th president",), phrase="Mr Donald Trump")
    for text in ("trump", "llava-without-trump", "Donald", "The 45th President", "mr donald trump"):
        assert trump.text in trump.mask(text)
    assert trump.mask("a trumpet") == "a trumpet"
    assert pseudonym("New York").mask("a new car in york") == f"a new car in {pseudonym('New York').text}"


@pytest.mark.parametrize("text", ["This is Trump.", "TRUMP", "eraseTrump", "Donald's", "Donáld", "three Trumps"])
def test_a_part_with_a_capital_is_hidden_however_the_name_was_given(text):
    found = pseudonym("donald trump").mask(text)
    assert pseudonym("donald trump").text in found
    assert not re.search(r"trump|don", found, re.IGNORECASE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("donald trump", "a trump card, and donald"),
        ("donald trump", "Trumpets and Donaldson"),
        ("rubber duck", "a duck of rubber, a duckling, Duckweed"),
        ("bath tub", "Tub"),
        ("girl with a pearl earring", "With a hat. From here."),
        ("熊猫 公园四处", "公园四处"),
    ],
)
def test_a_part_without_a_capital_or_inside_of_a_word_stays(name, text):
    assert pseudonym(name).mask(text) == text


def test_a_name_of_one_word_has_no_parts_and_one_of_two_is_hidden_whole():
    assert pseudonym("bathtub").mask("a Tub in a Bath") == "a Tub in a Bath"
    assert pseudonym("bath tub").mask("a bathtub") == f"a {pseudonym('bath tub').text}"


def test_the_longer_name_goes_first():
    red = pseudonym("panda", aliases=("red panda",))
    assert red.mask("a red panda") == f"a {red.text}"


def test_other_concepts_have_pseudonyms_of_their_own():
    both = Pseudonym(Concept(name="owl"), KEY, [Concept(name="grand piano")])
    assert both.mask("owl, grand piano") == f"{both.of('owl')}, {both.of('grand piano')}"


def test_a_name_that_no_text_could_hold_has_none():
    with pytest.raises(UsageFault, match="has no pseudonym"):
        pseudonym().of("...")


def test_an_error_names_nothing_and_keeps_its_kind():
    fault = pseudonym().fault(ArtifactFault("no grand piano", hint="rename ./grand_piano", figures={"a": 1.0}))
    assert (type(fault), fault.exit_code, fault.figures) == (ArtifactFault, 4, {"a": 1.0})
    assert fault.message == f"no {pseudonym().text}"
    assert "piano" not in fault.hint
