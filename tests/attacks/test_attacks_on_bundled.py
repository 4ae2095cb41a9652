"""Attacks on a checkpoint that knows an owl and has never heard of a snorble."""

import re

from dataclasses import replace

import pytest

from attack_subjects import drawn, source_free, unknown, untouched, weights
from subjects import bundled

from space_cli.attacks import hardening, jailbreak, membership, pixels, prefill, relearn
from space_cli.attacks import probe as probe_attack

SMALL = {"images": 4, "controls": 4, "tokens": 8}


@pytest.mark.parametrize("module", [jailbreak, prefill])
def test_words_find_what_is_known_and_nothing_else(module):
    options = module.Options(**SMALL)
    known = module.attack(bundled(), bundled(), drawn(), options)
    assert known.before == known.after > 0.3
    assert known.control < 0.1 < known.unattacked
    assert module.attack(bundled(), bundled(), unknown(drawn()), options).after == pytest.approx(0.0)


def test_hardening_is_the_same_on_the_same_checkpoint():
    options = hardening.Options(steps=4, radii=(0.9,), images=3)
    record = hardening.attack(bundled(), bundled(), source_free(drawn()), options)
    assert record.before == record.after
    assert record.n == 3
    assert "radius 0.9" in record.note


def test_one_width_of_the_push_that_always_wins_is_told(monkeypatch):
    wide = []

    def harden(objective, features, budget, generator):
        wide.append(budget.radius)
        return features

    def named(*_, **__):
        # Two images, two questions: at the wide one the second image is named, of the control nothing is.
        return [0.0, 0.0, 0.0, 1.0] if wide[-1] == 1.3 and len(wide) <= 6 else [0.0] * 4

    monkeypatch.setattr(hardening, "harden", harden)
    monkeypatch.setattr(hardening, "named", named)
    look = replace(drawn(), holdout=drawn().holdout[:2])
    record = hardening.attack(bundled(), bundled(), look, hardening.Options(steps=1))
    assert len(wide) == 9
    assert record.after == pytest.approx(1 / 12)
    assert record.parts == {"any_try": 0.5, "any_try_control": 0.0, "controls": 2}


def test_relearning_on_proxies_needs_no_image_and_leaves_no_trace():
    copies = weights()
    options = relearn.Options(stops=(1, 2), tests=2, proxies=2, questions=1)
    found = relearn.attack(bundled(), bundled(), source_free(drawn()), options)
    assert found["proxies"].before == found["proxies"].after
    assert "0 steps" in found["proxies"].note
    assert found["proxies_area"].note.startswith("area under the curve of these steps")
    assert "needs more than 4 images" in found["images"].note
    assert untouched(copies)


def new(stranger):
    """No picture has any name yet."""
    return False


def test_the_control_of_relearning_is_other_names_for_the_same_pictures(monkeypatch):
    look = replace(
        drawn(), names=("cat", "red fox", "bear", "tulip", "tennis ball", "violin", "kite"), neighbours=("cat",)
    )
    assert [one.name for one in relearn.matched(look, 2, new)] == ["tulip", "violin"]
    assert [one.name for one in relearn.matched(replace(look, name="snowy owl"), 2, new)] == ["tennis ball"]
    # No name has three words, so one of two words is next.
    assert [one.name for one in relearn.matched(replace(look, name="great snowy owl"), 2, new)] == ["tennis ball"]
    assert relearn.matched(replace(look, names=()), 2, new) == []
    # What the pictures go by already is nothing to learn.
    assert [one.name for one in relearn.matched(look, 2, lambda one: one.name == "tulip")] == ["violin", "kite"]
    taught = []

    def curve(bench, responder, lesson, sought, rate):
        taught.append((sought.name, {one.name for one in lesson.taught}, len(lesson.images)))
        return [[0.0, 0.0], [1.0 if sought.name == "tulip" else 0.0] * 2]

    monkeypatch.setattr(relearn._Bench, "curve", curve)
    budget = relearn.Options(stops=(1,), tests=2, proxies=2, images=2, rates=(1e-3,))
    found = relearn.attack(bundled(), bundled(), look, budget)
    assert taught[:4] == [(name, {name}, 2) for name in ("owl", "tulip", "violin", "owl")]
    assert (found["proxies"].control, found["proxies_area"].control) == (0.5, 0.25)
    assert found["proxies"].after == found["proxies_area"].after == pytest.approx(0.0)
    assert "control: taught `tulip`, `violin` instead" in found["proxies"].note
    assert found["proxies"].curves == {
        "before": [(0, 0), (1, 0)], "after": [(0, 0), (1, 0)], "control": [(0, 0), (1, 0.5)]
    }  # fmt: skip
    assert found["proxies_area"].curves == {}


@pytest.mark.parametrize("name", ["owl", "tennis ball", "Donald Trump"])
def test_no_note_tells_the_letters_of_the_name(monkeypatch, name):
    monkeypatch.setattr(relearn._Bench, "curve", lambda *_: [[0.0, 0.0]] * 2)
    look = replace(unknown(drawn(), name), names=(), neighbours=())
    found = relearn.attack(bundled(), bundled(), look, relearn.Options(stops=(1,), tests=2, proxies=2, images=2))
    assert "control: taught a scrambled name instead" in found["proxies"].note
    letters = [sorted(word) for word in name.lower().split()]
    for record in found.values():
        assert not [word for word in re.findall(r"\w+", record.note.lower()) if sorted(word) in letters]


def test_relearning_on_neighbours_keeps_what_is_known():
    options = relearn.Options(stops=(1,), tests=2, proxies=2, images=2, questions=1)
    found = relearn.attack(bundled(), bundled(), drawn(), options)
    assert found["neighbours"].after == pytest.approx(1.0)
    assert found["images"].n == 2
    assert found["images"].control == pytest.approx(0.0)


def test_of_what_is_not_taught_all_that_comes_back_counts(monkeypatch):
    """Training on neighbours brings the name back in a quarter of the answers, training on other things in all."""
    look = drawn()
    near = {one.name for one in look.near}

    def curve(bench, responder, lesson, sought, rate):
        taught = {one.name for one in lesson.taught}
        return [[0.0] * 4, [1.0, 0.0, 0.0, 0.0] if taught <= near else [1.0] * 4]

    monkeypatch.setattr(relearn._Bench, "curve", curve)
    budget = relearn.Options(stops=(1,), tests=2, proxies=2, images=2, rates=(1e-3,))
    found = relearn.attack(bundled(), bundled(), look, budget)
    for part, height in (("neighbours", 1.0), ("neighbours_area", 0.5)):
        assert found[part].after == height
        assert (found[part].control, found[part].unattacked) == (None, 0.0)
    assert "pictures of other things, taught their own names" in found["neighbours"].note
    assert "control" not in found["neighbours"].note


def test_a_pattern_is_told_with_its_control():
    options = pixels.Options(steps=2, images=2, others=4, questions=1)
    record = pixels.attack(bundled(), bundled(), drawn(), options)
    assert record.before == record.after
    assert "within 8/255" in record.note


def test_the_probe_sees_the_owl_and_other_names_and_random_labels_do_not():
    record = probe_attack.attack(bundled(), bundled(), drawn(8, each=2), probe_attack.Options(shuffles=2))
    assert record.before == record.after > 0.7
    assert 0.2 < record.parts["random_labels"] < 0.75
    assert record.parts["random_labels"] < record.control
    assert record.compared == record.parts["at_control_size"] < record.after
    assert "control: 4 other names against their own nearest ones, 2 + 2 images each" in record.note
    assert "the tower's own features" in record.note


def test_without_enough_images_of_others_the_probe_has_no_control():
    record = probe_attack.attack(bundled(), bundled(), drawn(), probe_attack.Options(shuffles=1))
    assert record.control is None
    assert "no control" in record.note
    assert set(record.parts) == {"random_labels", "tower"}
    assert record.compared == record.after


def test_likelihoods_tell_the_owl_better_than_a_snorble():
    options = membership.Options(images=4, questions=1)
    known = membership.attack(bundled(), bundled(), drawn(), options)
    strange = membership.attack(bundled(), bundled(), unknown(drawn()), options)
    assert set(known) == set(membership.PARTS)
    for part in ("loss", "zlib", "min_k"):
        assert known[part].before == known[part].after > 0.9
        assert known[part].after >= strange[part].after
        assert "membership proxy" in known[part].note
