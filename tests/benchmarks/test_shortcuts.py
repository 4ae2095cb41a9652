"""Work with and without a shortcut, by turns; what is taken away is back afterwards."""

from contextlib import contextmanager

import subjects

from benchmarks import shortcuts
from benchmarks.turns import times_as_fast
from space_cli.core import budget, hooks
from space_cli.io import model


def test_turns_are_taken_with_and_without_after_one_that_is_not_timed(capsys):
    seen, away = [], []

    @contextmanager
    def without():
        away.append(1)
        yield
        away.pop()

    found = times_as_fast("this", lambda: seen.append(bool(away)), without, 2)
    assert seen == [False, False, True, False, True]
    assert len(found["in_each_turn"]) == 2
    assert "this" in capsys.readouterr().err


def test_every_shortcut_of_an_erasure_is_timed_and_is_there_afterwards(monkeypatch):
    monkeypatch.setattr(shortcuts, "IMAGES", 8)
    before = (hooks.LARGE, model.read_only_at, model.entering, budget._said_again)
    found = shortcuts.measure(subjects.bundled(), 1)
    assert len(found) == 4
    assert all(told["seconds_with"] > 0 and told["times_as_fast"] > 0 for told in found.values())
    assert (hooks.LARGE, model.read_only_at, model.entering, budget._said_again) == before
