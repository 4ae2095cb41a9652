"""The checkpoint to erase from is opened only where the result will lie elsewhere."""

import pytest
import torch

from erased_folder import PANDA, make_base

from space_cli.core.errors import UsageFault
from space_cli.core.moments import SecondMoment
from space_cli.core.recipe import EraseRequest
from space_cli.core.types import Edit
from space_cli.stages.editing import _retained_energy, open_base


@pytest.mark.parametrize(("place", "why"), [(".", "is the checkpoint to erase from"), (".space/erased", "lies inside")])
def test_a_place_in_the_checkpoint_is_refused_before_a_header_is_read(tmp_path, monkeypatch, place, why):
    base = make_base(tmp_path / "base", torch.float16)
    monkeypatch.setattr("space_cli.stages.editing.open_checkpoint", lambda folder: pytest.fail("it was opened"))
    with pytest.raises(UsageFault, match=why):
        open_base(EraseRequest(concept=PANDA, model=str(base), anchors="anchors"), base / place)


@pytest.mark.parametrize("mixed", [torch.eye(2), 10 * torch.eye(2), torch.tensor([[1.0, 1.0], [0.0, 0.1]])])
def test_the_share_of_energy_is_that_of_the_directions_however_their_factors_are_scaled(mixed):
    moment = SecondMoment(4).update(torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])))
    edit = Edit("layer", left=torch.ones(3, 2), right=mixed @ torch.eye(4)[1:3])
    assert _retained_energy(edit, moment) == pytest.approx((9 + 4) / 30)


def test_a_direction_that_is_there_twice_counts_once_and_none_for_nothing():
    moment = SecondMoment(4).update(torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])))
    assert _retained_energy(Edit("layer", left=torch.ones(3, 2), right=torch.eye(4)[[1, 1]]), moment) == pytest.approx(
        0.3
    )
    assert _retained_energy(Edit("layer", left=torch.ones(3, 0), right=torch.ones(0, 4)), moment) == 0
