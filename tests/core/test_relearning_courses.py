"""Which rate counts, and what is told of it."""

import pytest

from space_cli.core.relearning import area
from space_cli.core.relearning_courses import AREA, Courses

STOPS = (0, 10, 20)


def curve(*heights, answers=10):
    """A curve of so many answers, of which a share gives the name at each stop."""
    return [[1.0] * round(height * answers) + [0.0] * (answers - round(height * answers)) for height in heights]


def courses(rates):
    return Courses(rates, STOPS, questions=1, seed=0, note="rank 8")


def test_the_rate_that_counts_is_the_one_farthest_ahead_of_its_control():
    new = {1e-4: curve(0, 0, 0.6), 1e-3: curve(0, 1, 1)}
    control = {1e-4: curve(0, 0, 0), 1e-3: curve(0, 0.2, 1)}
    asked = []

    def old(rate):
        asked.append(rate)
        return curve(1, 1, 1)

    found = courses((1e-4, 1e-3)).records(old, new.__getitem__, control.__getitem__)
    last, whole = found[""], found[AREA]
    assert (last.after, last.control) == (pytest.approx(0.6), 0.0)  # of 0.6 - 0 and 1 - 1
    assert whole.after == pytest.approx(area(STOPS, [0, 1, 1]))  # of 0.15 - 0 and 0.75 - 0.35
    assert whole.control == pytest.approx(area(STOPS, [0, 0.2, 1]))
    assert asked == [1e-4, 1e-3]  # the checkpoint before erasing is trained at the rates that count
    assert last.curves["after"] == [(0.0, 0.0), (10.0, 0.0), (20.0, 0.6)]
    assert whole.curves["after"] == [(0.0, 0.0), (10.0, 1.0), (20.0, 1.0)]
    assert whole.note.startswith("area under the curve of these steps; lr 0.001, at which")
    assert "lr 0.0001, at which it is farthest ahead" in last.note
    assert "at 0.001 0 steps 0.00, 10 steps 1.00, 20 steps 1.00, control 0 steps 0.00, 10 steps 0.20" in last.note


def test_of_equals_the_faster_rate_counts_and_its_curves_are_told_once():
    made = courses((1e-4, 1e-3)).records(lambda _: curve(1, 1, 1), lambda _: curve(0, 0, 0), None)
    assert "lr 0.001," in made[""].note
    assert made[""].curves.keys() == {"before", "after"}
    assert not made[AREA].curves
    assert made[""].control is None


def test_a_single_rate_is_told_as_it_is():
    made = courses((3e-4,)).records(lambda _: curve(1, 1, 1), lambda _: curve(0, 0, 0.5), lambda _: curve(0, 0, 0.1))
    assert "farthest" not in made[""].note
    assert made[""].note.startswith("lr 0.0003; at 0.0003 0 steps 0.00")
