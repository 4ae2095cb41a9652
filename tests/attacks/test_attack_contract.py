"""What every attack obeys; a new file in `space_cli/attacks` is tested here by being there."""

from dataclasses import fields, replace

import pytest

from attack_subjects import Sketchy
from fakes import knowing, probe, ranking
from pydantic import BaseModel

from space_cli.core import registry
from space_cli.core.attacking import score_names, scores_of
from space_cli.core.records import ScoreRecord
from space_cli.core.types import Probe

NAMES = registry.names("attacks")
# These need gradients through a model, which a table of answers has not; `test_attacks_on_bundled` has them.
LEARNING = {"hardening", "relearn", "pixels", "membership"}
ASKING = sorted(set(NAMES) - LEARNING)


def run(name, before, after, look=None):
    module = registry.load("attacks", name)
    return scores_of(name, module.attack(before, after, look or probe(forget=4, retain=1), module.Options()))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_needs_and_what_it_writes(name):
    module = registry.load("attacks", name)
    assert module.__doc__
    assert module.attack.__doc__
    assert isinstance(module.NEEDS, frozenset)
    assert {field.name for field in fields(Probe)} >= module.NEEDS
    assert isinstance(module.Options(), BaseModel)
    assert all(score.startswith("attack_") for score in score_names(name, module))


@pytest.mark.parametrize("name", ASKING)
def test_nothing_erased_is_attacked_the_same_before_and_after(name):
    same = Sketchy(knowing(), ranking(), shift=0.3)
    records = run(name, same, same)
    assert set(records) <= set(score_names(name, registry.load("attacks", name)))
    for record in records.values():
        assert record.before == record.after
        assert record.better == "lower"
    assert any(record.n for record in records.values())


@pytest.mark.parametrize("name", ASKING)
def test_an_interval_holds_the_mean_and_the_seed_decides_it(name):
    before, after = Sketchy(knowing(), ranking()), Sketchy(knowing("panda"), ranking("panda"), shift=0.2)
    first, second = (run(name, before, after) for _ in range(2))
    assert first == second
    for record in first.values():
        if record.n:
            assert 0 <= record.low <= record.after <= record.high <= 1


@pytest.mark.parametrize("name", ASKING)
def test_a_mute_checkpoint_is_attacked_all_the_same(name):
    records = run(name, Sketchy(knowing()), Sketchy(lambda *_: ""))
    assert all(isinstance(record, ScoreRecord) for record in records.values())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"images", "probe", "hardening", "membership"}))
def test_with_nothing_to_show_it_says_what_it_needs(name):
    bare = replace(probe(), forget=(), retain=(), holdout=(), general=())
    for record in run(name, Sketchy(knowing()), Sketchy(knowing()), bare).values():
        assert record.n == 0
        assert "needs images of the concept, or held-out anchors" in record.note
