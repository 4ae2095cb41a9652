from dataclasses import replace

import pytest

from attack_subjects import Sketchy
from fakes import knowing, probe

from space_cli.core.examining import _left, assault
from space_cli.core.protocols import Silent

PAIR = (Sketchy(knowing()), Sketchy(knowing("panda")))
LOOK = probe(forget=3, retain=1)


class Spoken(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_attacks_are_named_scored_and_timed():
    said = Spoken()
    found = assault(["jailbreak", "quantize"], PAIR, LOOK, {}, said)
    assert {"attack_jailbreak", "attack_quantize_int8", "attack_quantize_rtn4"} <= set(found.scores)
    assert set(found.seconds) == {"attack_jailbreak", "attack_quantize"}
    assert said.notes[0] == "attack 1 of 2: jailbreak, time left: unknown"
    assert said.notes[1].startswith("attack 2 of 2: quantize, time left: about ")


def test_an_attack_without_what_it_needs_is_skipped_with_the_reason():
    bare = replace(LOOK, forget=(), retain=(), holdout=())
    found = assault(["images", "jailbreak"], PAIR, bare, {"forget": "no folder of images was given"}, Silent())
    assert not found.scores
    assert found.skipped["attack_images"] == "needs `forget`: no folder of images was given"
    assert "held-out anchors" in found.skipped["attack_jailbreak"]


@pytest.mark.parametrize(
    "seconds, paid, owed, words", [(0, 0, 4, "unknown"), (5, 1, 4, "about 20 s"), (60, 1, 10, "about 10 min")]
)
def test_the_time_left_follows_from_what_was_done(seconds, paid, owed, words):
    assert _left(seconds, paid, owed) == words
