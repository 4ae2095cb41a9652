from dataclasses import replace

import pytest

from fakes import NAMES, Table, knowing, picture, probe, ranking, shown

from space_cli.core.matching import parts_said
from space_cli.core.remembering import Looks, Remembering
from space_cli.core.types import Prompt
from space_cli.metrics import (
    forget_accuracy,
    forget_choice_accuracy,
    forget_yes_rate,
    kind_accuracy,
    neighbour_accuracy,
    retain_accuracy,
    retain_kl,
    text_knowledge,
)
from tests.metrics.measuring import AFTER, BEFORE, measure, saying


def test_forget_accuracy_counts_answers_but_images_are_the_evidence():
    record = measure(forget_accuracy, AFTER)
    assert (record.before, record.after, record.n) == (1.0, 0.0, 12)
    assert 0.2 < record.high < 0.3  # Wilson of none of 12 images, not of 60 answers
    assert "of 60 answers that named it before, 0.0% still do" in record.note


def test_forget_accuracy_sees_an_alias_and_ignores_a_longer_name():
    assert measure(forget_accuracy, saying("That is a Giant Panda!")).after == pytest.approx(1.0)
    look = replace(probe(), names=(*NAMES[1:], "red panda"))
    longer = measure(forget_accuracy, saying("A red panda."), look=look)
    assert longer.after == pytest.approx(0.0)
    assert longer.note.endswith("; 60 of 60 answers hold it inside a longer name of something else")
    assert "longer name" not in measure(forget_accuracy, AFTER, look=look).note


def test_forget_accuracy_asks_as_many_phrasings_as_told():
    responder = Table(knowing())
    measure(forget_accuracy, responder, before=Table(knowing()), phrasings=2)
    assert responder.asked == 24


def test_forget_accuracy_of_what_was_unknown_says_so():
    assert "no answer named it before" in measure(forget_accuracy, AFTER, before=AFTER).note


def test_choice_is_right_before_and_at_chance_when_every_name_is_as_likely():
    record = measure(forget_choice_accuracy, AFTER)
    assert record.before == pytest.approx(1.0)
    assert record.after == pytest.approx(1 / 8)
    assert "chance 0.125 among 8 names" in record.note


def test_choice_is_not_fooled_by_silence():
    mute = Table(knowing("panda"), ranking())
    assert measure(forget_accuracy, mute).after == pytest.approx(0.0)
    assert measure(forget_choice_accuracy, mute).after == pytest.approx(1.0)


def test_choice_leaves_aliases_out_and_takes_the_nearest_names():
    look = replace(probe(), names=("Giant  Panda", "bear", "koala", "bus"))
    record = measure(forget_choice_accuracy, AFTER, look=look, others=2)
    assert "among 3 names" in record.note


def test_choice_reads_the_name_where_the_checkpoint_says_it():
    assert "read after “This is”" in measure(forget_choice_accuracy, AFTER).note
    assert "read after" not in measure(forget_choice_accuracy, AFTER, before=Table(lambda *_: "no idea")).note


def test_choice_asks_for_bare_names_where_the_checkpoint_gives_bare_names():
    before = Table(lambda name, question: f"{name}.", lambda name, candidate: float(candidate == name))
    after = Table(knowing(), lambda name, candidate: float(candidate == "bus"))
    record = measure(forget_choice_accuracy, after, before=before)
    assert (record.before, record.after) == (1.0, 0.0)
    assert "read after" not in record.note


def test_yes_rate_has_its_control():
    record = measure(forget_yes_rate, AFTER)
    assert (record.before, record.after, record.control) == (1.0, 0.0, 0.0)
    assert "affirmed 100% before, 100% after" in record.note


def test_yes_rate_shows_a_checkpoint_that_always_agrees():
    record = measure(forget_yes_rate, Table(lambda *_: "Yes."))
    assert (record.after, record.control) == (1.0, 1.0)


def test_yes_rate_without_other_images_has_no_control():
    record = measure(forget_yes_rate, Table(lambda *_: "Perhaps"), look=replace(probe(), retain=[]))
    assert record.control is None
    assert record.note == "24 of 24 answers are neither yes nor no"


def test_retain_and_neighbours_see_where_the_damage_is():
    damaged = Table(knowing("bear"))
    retained, near = measure(retain_accuracy, damaged), measure(neighbour_accuracy, damaged)
    assert (retained.before, retained.n, near.n) == (1.0, 21, 6)
    assert retained.after == pytest.approx(6 / 7)
    assert near.after == pytest.approx(1 / 2)
    assert measure(neighbour_accuracy, Table(knowing("bus"))).after == pytest.approx(1.0)


def test_retain_does_not_take_a_longer_name_for_the_right_one():
    look = replace(probe(), names=(*NAMES[1:], "polar bear"))
    assert measure(retain_accuracy, saying("a polar bear", about="bear"), look=look).after == pytest.approx(6 / 7)


def test_kind_is_taken_from_the_probe_or_from_the_majority_before():
    assert measure(kind_accuracy, AFTER).after == pytest.approx(1.0)
    assert measure(kind_accuracy, Table(lambda *_: "A machine.")).after == pytest.approx(0.0)
    record = measure(kind_accuracy, saying("This is an ANIMAL"), look=replace(probe(), kind=None))
    assert record.after == pytest.approx(1.0)
    assert "the most frequent answer before: this is an animal" in record.note


def test_text_knowledge_uses_the_expected_answer_or_the_one_before():
    record = measure(text_knowledge, AFTER)
    assert (record.before, record.after, record.n) == (1.0, 1.0, 2)
    assert "1 of them against the answer before" in record.note
    moved = Table(lambda name, question: "It is an animal." if "kind" in question else "In a garage.")
    assert measure(text_knowledge, moved).after == pytest.approx(0.5)


def test_retain_kl_is_nought_for_the_same_and_grows_with_the_shift():
    still = measure(retain_kl, AFTER)
    near, far = (measure(retain_kl, Table(knowing(), shift=shift)) for shift in (0.1, 0.5))
    assert (still.before, still.after, still.low, still.high) == (0.0, 0.0, 0.0, 0.0)
    assert 0 < near.low <= near.after <= near.high < far.after
    assert near.unit == "nats/token"


def test_retain_kl_matches_the_formula():
    look = replace(probe(), retain=[], general=[], names=(), facts=(("Where?", ""),))
    other = Table(knowing(), shift=0.7)
    batch = BEFORE.batch([Prompt("Where?", "In the wild.")])
    first, second = (table.logits(batch, None)[0, 0:4].log_softmax(-1) for table in (BEFORE, other))
    expected = (first.exp() * (first - second)).sum(-1).mean().item()
    assert measure(retain_kl, other, look=look).after == pytest.approx(expected, rel=1e-5)


def test_retain_kl_without_anything_to_ask_is_empty():
    look = replace(probe(), retain=[], general=[], names=(), facts=())
    assert measure(retain_kl, AFTER, look=look).n == 0


def test_answers_with_a_part_of_the_name_alone_are_told():
    look = replace(probe(), name="Donald Panda", aliases=("Donald Panda",))
    record = measure(
        forget_accuracy, saying("This is president panda."), before=saying("A panda in the wild."), look=look
    )
    count = len(look.forget) * 5
    assert record.after == 0.0
    assert f"{count} of {count} answers hold only a part of the name (Panda), {count} before: " in record.note
    whole = measure(forget_accuracy, saying("This is nothing."), before=saying("This is Donald Panda."), look=look)
    assert "part of the name" not in whole.note
    assert "part of the name" not in measure(forget_accuracy, AFTER).note


@pytest.mark.parametrize(
    ("text", "names", "others", "said"),
    [
        ("a piano", ["grand piano"], (), ["piano"]),
        ("a piano", ["grand piano"], ["upright piano"], []),
        ("a grand piano and a piano", ["grand piano"], (), []),
        ("the sun", ["rising sun"], (), []),
        ("a panda", ["panda"], (), []),
    ],
)
def test_a_part_tells_something_only_where_nothing_else_is_called_so(text, names, others, said):
    assert parts_said(text, names, others=others) == said


def test_remembering_asks_each_question_once():
    table = Table(knowing())
    responder = Remembering(table)
    images = [picture("bus"), picture("rose")]
    first = responder.answer([*images, images[0]], ["What?", "What?", "What?"])
    assert first == ["This is a bus.", "This is a rose.", "This is a bus."]
    assert table.asked == 2
    assert responder.answer(None, ["What?"]) == ["It is an animal."]
    assert responder.answer(images, ["What?", "Who?"]) == ["This is a bus.", "This is a rose."]
    assert table.asked == 4
    responder.answer(images[:1], ["What?"], tokens=3)
    assert table.asked == 5


def test_remembering_runs_the_tower_once_an_image(monkeypatch):
    table, seen = Table(knowing()), []
    read = table.features
    monkeypatch.setattr(table, "features", lambda images: seen.append(len(images)) or read(images))
    measure(forget_accuracy, Remembering(table))
    # 60 questions in two batches; the image whose questions they share is read in the first.
    assert seen == [7, 5]


def test_two_with_the_same_tower_share_what_it_sees(monkeypatch):
    table, other, seen = Table(knowing()), Table(lambda *_: "It is a thing."), []
    read = table.features
    monkeypatch.setattr(table, "features", lambda images: seen.append(len(images)) or read(images))
    monkeypatch.setattr(other, "features", lambda images: pytest.fail("the other tower looked"))
    looks, images = Looks(), [picture("bus"), picture("rose")]
    assert Remembering(table, looks).answer(images, ["What?"] * 2) == ["This is a bus.", "This is a rose."]
    assert Remembering(other, looks).answer(images, ["What?"] * 2) == ["It is a thing."] * 2
    assert seen == [2]


def test_images_beyond_the_room_are_looked_at_again(monkeypatch):
    table, seen = Table(knowing()), []
    images = [picture(name) for name in ("bus", "rose", "tulip")]
    read = table.features
    monkeypatch.setattr(table, "features", lambda images: seen.append(len(images)) or read(images))
    one = read(images[:1])[0]
    responder = Remembering(table, Looks(room=2 * one.numel() * one.element_size()))
    for question in ("What?", "Which?"):
        told = responder.answer(images, [question] * 3)
        assert told == ["This is a bus.", "This is a rose.", "This is a tulip."]
    assert seen == [3, 1]


def test_remembering_never_confuses_images_that_are_gone():
    responder = Remembering(Table(knowing()))
    for name in NAMES * 3:
        assert responder.answer([picture(name)], ["What?"]) == [f"This is a {name}."]


def test_remembering_does_not_change_a_score():
    plain = measure(forget_accuracy, AFTER)
    assert forget_accuracy.measure(Remembering(BEFORE), Remembering(AFTER), probe(), forget_accuracy.Options()) == plain


def test_controls_are_spread_over_names():
    responder = Table(knowing())
    look = replace(probe(), retain=[*shown("bus", 50), *shown("rose", 1)])
    record = measure(forget_yes_rate, responder, look=look, controls=2)
    assert record.control == pytest.approx(0.0)
    assert responder.asked == 24 + 2 * 2 + 2
