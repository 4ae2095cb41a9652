"""The neighbour that lost most: which one it is, and that it costs no question."""

from dataclasses import replace

import pytest

from fakes import Table, knowing, probe

from space_cli.core.remembering import Remembering
from space_cli.metrics import neighbour_accuracy, worst_neighbour

NEAR = replace(probe(), neighbours=("bear", "koala", "bus"))


def measure(after, *, before=None, look=NEAR):
    return worst_neighbour.measure(before or Table(knowing()), after, look, worst_neighbour.Options())


def failing(counts):
    """Answer the first so many questions about a name wrongly."""
    left, truth = dict(counts), knowing()

    def say(name, question):
        if left.get(name, 0) > 0:
            left[name] -= 1
            return "No idea."
        return truth(name, question)

    return Table(say)


def test_it_is_the_one_that_lost_most_and_the_mean_hides_it():
    record = measure(failing({"bear": 1, "koala": 6}))
    assert (record.before, record.after, record.n) == (1.0, 0.0, 3)
    assert record.note == "“koala”, of 3 neighbours the one that kept least"
    assert record.low == 0
    assert 0.5 < record.high < 0.6  # Wilson of none of 3 images, not of 6 answers
    near = neighbour_accuracy.measure(
        Table(knowing()), failing({"bear": 1, "koala": 6}), NEAR, neighbour_accuracy.Options()
    )
    assert near.after == pytest.approx(11 / 18)


def test_it_goes_by_what_is_left_of_what_was_known():
    # Of the bear 3 of 6 answers were right and 1 is left, of the koala 6 and 3.
    record = measure(failing({"bear": 5, "koala": 3}), before=failing({"bear": 3}))
    assert record.note.startswith("“bear”")
    assert (record.before, record.after) == (pytest.approx(1 / 2), pytest.approx(1 / 6))


def test_one_that_was_hardly_known_is_left_out_unless_all_were():
    hardly = {"bear": 5}
    record = measure(failing({"bear": 6, "bus": 1}), before=failing(hardly))
    assert record.note.startswith("“bus”, of 3 neighbours")
    record = measure(failing({"bear": 6, "koala": 6, "bus": 6}), before=failing({"bear": 5, "koala": 6, "bus": 6}))
    assert record.note.startswith("“bear”")
    assert record.before == pytest.approx(1 / 6)


def test_where_nothing_was_lost_it_is_the_nearest():
    record = measure(Table(knowing()))
    assert (record.before, record.after) == (1.0, 1.0)
    assert record.note.startswith("“bear”")


def test_without_pictures_of_neighbours_there_is_nothing_to_say():
    record = measure(Table(knowing()), look=replace(NEAR, neighbours=("tent",)))
    assert (record.n, record.after, record.note) == (0, None, "")


def test_it_asks_nothing_that_neighbour_accuracy_did_not():
    before, after = Table(knowing()), Table(knowing("bear"))
    both = Remembering(before), Remembering(after)
    neighbour_accuracy.measure(*both, NEAR, neighbour_accuracy.Options())
    asked = before.asked, after.asked
    worst_neighbour.measure(*both, NEAR, worst_neighbour.Options())
    assert (before.asked, after.asked) == asked
