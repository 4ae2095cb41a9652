"""The checkpoint to erase from is opened only where the result will lie elsewhere."""

import pytest
import torch

from erased_folder import PANDA, make_base

from space_cli.core.errors import UsageFault
from space_cli.core.recipe import EraseRequest
from space_cli.stages.editing import open_base


@pytest.mark.parametrize(("place", "why"), [(".", "is the checkpoint to erase from"), (".space/erased", "lies inside")])
def test_a_place_in_the_checkpoint_is_refused_before_a_header_is_read(tmp_path, monkeypatch, place, why):
    base = make_base(tmp_path / "base", torch.float16)
    monkeypatch.setattr("space_cli.stages.editing.open_checkpoint", lambda folder: pytest.fail("it was opened"))
    with pytest.raises(UsageFault, match=why):
        open_base(EraseRequest(concept=PANDA, model=str(base), anchors="anchors"), base / place)
