"""The meter counts directions: the same ones once, halves as halves, and nothing that an edit does not act on."""

import pytest
import torch

from space_cli.core.meter import DOUBTFUL, by_layer, reading, spent_share, used_directions, used_share
from space_cli.core.types import Edit

WIDTH = 8
AXES = torch.eye(WIDTH, dtype=torch.float64)


def along(*axes, layer="a"):
    right = torch.stack([torch.eye(WIDTH)[axis] for axis in axes])
    return Edit(layer, left=torch.ones(3, len(axes)), right=right)


def test_directions_of_several_edits_count_once_each():
    free = AXES[:, :4]
    assert used_share(free, [along(0)]) == pytest.approx(1 / 4)
    assert used_share(free, [along(0), along(0)]) == pytest.approx(1 / 4)
    assert used_share(free, [along(0), along(1, 2)]) == pytest.approx(3 / 4)
    assert used_share(free, [along(0, 1, 2, 3), along(5)]) == pytest.approx(1.0)


def test_what_lies_outside_of_what_is_free_now_uses_nothing():
    assert used_share(AXES[:, :4], [along(6, 7)]) == pytest.approx(0.0)
    slanted = Edit("a", left=torch.ones(3, 1), right=torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 1.0]]))
    assert used_share(AXES[:, :4], [slanted]) == pytest.approx(0.5 / 4)


def test_no_edit_uses_nothing_and_no_room_is_all_used():
    assert used_share(AXES[:, :4], []) == 0.0
    assert used_share(AXES[:, :0], [along(0)]) == 1.0


def test_the_size_of_an_edit_does_not_count():
    small = Edit("a", left=torch.ones(3, 1) * 1e-4, right=along(2).right * 1e-4)
    assert used_share(AXES, [small]) == pytest.approx(1 / WIDTH)


def test_of_a_dense_edit_the_directions_with_its_energy_count():
    delta = torch.zeros(3, WIDTH)
    delta[0, 1], delta[1, 4], delta[2, 6] = 1.0, 0.9, 1e-3
    assert used_directions([Edit("a", dense=delta)], delta.device).shape == (WIDTH, 2)


def test_edits_are_sorted_by_layer():
    first, second = along(0), along(1, layer="b")
    assert by_layer([[first, second], [along(2)]]).keys() == {"a", "b"}
    assert by_layer([[first], [second]])["b"] == [second]


@pytest.mark.parametrize(("spent", "doubtful"), [(DOUBTFUL - 0.01, False), (DOUBTFUL, True), (1.0, True)])
def test_the_meter_says_when_retention_is_doubtful(spent, doubtful):
    told = reading({"a": 1.0, "b": 1.0}, 3, spent)
    assert told.startswith(f"3 requests have spent {spent:.0%}".replace("%", " %"))
    assert ("retention is doubtful" in told) is doubtful


def test_the_budget_is_spent_by_the_figure_that_spent_most():
    limits = {"retain_kl": 0.05, "neighbours_changed": 0.1}
    assert spent_share({"retain_kl": 0.01, "neighbours_changed": 0.06, "steps": 9.0}, limits) == pytest.approx(0.6)
    assert spent_share({}, limits) == 0.0
    assert [spent_share({"retain_kl": found}, {"retain_kl": 0.0}) for found in (0.0, 0.1)] == [0.0, 1.0]
