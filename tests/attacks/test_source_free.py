"""What an auditor without one image of the concept can still try, on the bundled checkpoint's owl."""

import pytest

from attack_subjects import drawn, source_free, untouched, weights
from subjects import bundled

from space_cli.core import registry
from space_cli.core.attacking import scores_of

REACH = {"images": 2, "controls": 2, "tokens": 8}
SMALL = {
    "aliases": REACH,
    "jailbreak": REACH,
    "prefill": REACH | {"questions": 1},
    "hardening": {"steps": 2, "radii": (0.9,), "images": 2},
    "quantize": {"images": 2, "controls": 2, "questions": 1},
    "relearn": {"stops": (1,), "tests": 2, "proxies": 2, "questions": 1, "controls": 1},
}
SKIPPED = {"attack_relearn_images", "attack_relearn_neighbours", "attack_quantize_nf4"}
"""What needs images, or a package that may not be there."""


@pytest.mark.parametrize("name", SMALL)
def test_it_runs_on_held_out_anchors_and_finds_the_same_before_and_after(name):
    attack, copies = registry.load("attacks", name), weights()
    look = source_free(drawn())
    found = scores_of(name, attack.attack(bundled(), bundled(), look, attack.Options(**SMALL[name])))
    tried = {score: one for score, one in found.items() if one.n}
    assert set(found) - set(tried) <= SKIPPED | {f"{score}_area" for score in SKIPPED}
    assert tried
    for record in tried.values():
        assert record.before == record.after
        assert record.n == 2
        assert "held-out anchors" in record.note
        assert "images of the concept" not in record.note
    assert untouched(copies)
