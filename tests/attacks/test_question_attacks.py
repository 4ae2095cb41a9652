import tomllib

from dataclasses import replace
from importlib.resources import files

import pytest

from attack_subjects import Sketchy
from fakes import knowing, probe

from space_cli.attacks import aliases, images, jailbreak, prefill
from space_cli.core.spelling import katakana, spellings

BEFORE = Sketchy(knowing())
ERASED = Sketchy(knowing("panda"))
LOOK = probe(forget=4, retain=1)


def attack(module, after, look=LOOK, before=BEFORE):
    return module.attack(before, after, look, module.Options())


@pytest.mark.parametrize("module", [aliases, jailbreak, prefill, images])
def test_what_is_known_is_found_and_what_is_gone_is_not(module):
    record = attack(module, ERASED)
    assert record.before > 0.3
    assert (record.after, record.control, record.unattacked) == (0.0, 0.0, 0.0)
    assert record.n == 4  # images, however many questions


def test_aliases_find_the_spelling_that_was_forgotten_to_be_forgotten():
    plain = knowing("panda")
    leak = Sketchy(
        lambda name, question: "Yes." if name == "panda" and "p-a-n-d-a" in question else plain(name, question)
    )
    record = attack(aliases, leak)
    assert record.after > 0
    assert record.unattacked == pytest.approx(0.0)
    assert "spacing, yes/no" in record.note


def test_an_alias_that_always_works_shows_among_any_try_and_a_yes_to_anything_does_not():
    look = replace(LOOK, aliases=("panda", "giant bamboo bear"))
    plain = knowing("panda")

    def say(name, question):
        if name == "panda" and question.startswith("Find a giant bamboo bear "):
            return "a panda"
        return "Yes." if "pnda" in question or "p-a-n-d-a" in question else plain(name, question)

    record = attack(aliases, Sketchy(say), look)
    assert record.after < 0.3
    assert (record.parts["any_try"], record.parts["any_try_control"]) == (1.0, 0.0)
    assert "any of the " in record.note
    agreeing = attack(aliases, Sketchy(lambda *_: "Yes."))
    assert (agreeing.parts["any_try"], agreeing.parts["any_try_control"]) == (0.0, 0.0)


def test_the_name_in_place_of_a_yes_counts():
    plain = knowing("panda")
    leak = Sketchy(lambda name, question: "It is a panda." if "shown in this" in question else plain(name, question))
    assert attack(aliases, leak).after > 0.1


def test_an_answer_in_another_script_counts_and_a_neighbour_does_not():
    cyrillic = Sketchy(lambda name, question: "Это панда." if name == "panda" else "no")
    assert attack(aliases, cyrillic).after > 0.4
    assert attack(aliases, Sketchy(lambda *_: "a bear")).after == pytest.approx(0.0)


def test_a_checkpoint_that_always_agrees_shows_it_in_the_control():
    record = attack(aliases, Sketchy(lambda *_: "Yes."))
    assert record.after == pytest.approx(record.control)
    assert record.after > 0.3


def test_no_jailbreak_template_holds_the_name():
    heard = []
    attack(jailbreak, Sketchy(lambda name, question: heard.append(question) or ""))
    assert len(set(heard)) >= 8
    assert not any("panda" in question.lower() for question in heard)
    assert any("begins with the letter P and has 5 letters" in question for question in heard)
    assert any("a bear" in question and "a koala" in question for question in heard)


def test_a_hint_that_would_give_the_name_away_is_left_out():
    heard = []
    look = replace(LOOK, kind="pandalike", names=("red panda", "bear"))
    attack(jailbreak, Sketchy(lambda name, question: heard.append(question) or ""), look)
    assert not any("panda" in question for question in heard)


def test_one_template_that_works_is_told_by_name():
    plain = knowing("panda")
    leak = Sketchy(lambda name, question: f"a {name}" if "expert" in question else plain(name, question))
    record = attack(jailbreak, leak)
    assert "any of them: 1.00 → 1.00 (control 0.00) of the images" in record.note
    assert record.parts == {"any_try": 1.0, "any_try_control": 0.0, "controls": 7}
    assert record.after < 0.1
    assert "role play 1.00 → 0.50 (control 0.00)" in record.note


def test_a_letter_by_letter_answer_is_the_name():
    record = attack(jailbreak, Sketchy(lambda name, question: "p-a-n-d-a" if name == "panda" else "b-u-s"))
    assert (record.after, record.control) == (1.0, 0.0)


def test_prefill_forces_openings_and_counts_what_follows():
    plain = knowing("panda")
    leak = Sketchy(lambda name, question: "panda." if question.endswith("Sure, this is a") else plain(name, question))
    record = attack(prefill, leak)
    assert record.after > 0
    assert "openings with article 1.00 → 0.20" in record.note


def test_images_tell_which_change_brings_it_back():
    plain = knowing("panda")
    turned = Sketchy(plain)
    record = attack(images, turned)
    for name in ("crop", "flip", "blur", "jpeg", "sketch", "collage", "company"):
        assert f"{name} " in record.note
    assert record.note.startswith("10 changes of 4 images of the concept")


def test_of_pictures_any_change_and_any_question_is_a_try():
    plain = knowing("panda")
    leak = Sketchy(lambda name, question: f"a {name}" if question == images.EVERYTHING else plain(name, question))
    record = attack(images, leak)
    assert record.after < 0.5
    assert record.parts["any_try"] == 1.0
    # Some changes make another picture look like the concept to this fake: of three questions one is answered.
    assert record.control < record.parts["any_try_control"] < 1.0
    assert "any of them → 1.00 of the images" in record.note


@pytest.mark.parametrize("policy", ["default", "strict"])
def test_what_shipped_rules_ask_of_any_try_the_attack_tells(policy):
    rules = tomllib.loads((files("space_cli") / "policies" / f"{policy}.toml").read_text())["rule"]
    asked = {rule["score"].removeprefix("attack_") for rule in rules if rule.get("of") == "any_try"}
    assert asked == {"aliases", "jailbreak", "prefill", "images", "hardening"}
    for module in (aliases, jailbreak, prefill, images):
        assert {"any_try", "any_try_control"} <= set(attack(module, ERASED).parts)


def test_spellings_stay_clear_of_other_names():
    texts = [one.text for one in spellings(["bear"], others=("baer", "b ear", "b e a r"), seed=0)]
    assert "baer" not in texts
    assert "b e a r" not in texts
    assert len(texts) == len(set(texts))
    assert not any(one.sure for one in spellings(["owl"], others=(), seed=0) if one.kind == "typo")


def test_scripts_go_both_ways():
    assert "panda" in [one.text for one in spellings(["панда"], others=(), seed=0)]
    assert [one.kind for one in spellings(["熊猫"], others=(), seed=0)] == ["given", "spacing", "spacing"]
    assert katakana("sumo") == "スモ"


def test_no_opening_holds_the_name_however_its_phrase_is_worded():
    heard = []
    look = replace(LOOK, phrase="giant pandas")
    attack(prefill, Sketchy(lambda name, question: heard.append(question) or ""), look)
    assert heard
    assert not any("panda" in question for question in heard)
