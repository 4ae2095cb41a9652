import torch

from space_cli.core.context import EditContext
from space_cli.core.knowledge import Knowledge
from space_cli.core.moments import SecondMoment
from space_cli.core.protocols import Silent
from space_cli.core.recipe import Concept


def test_a_moment_stays_on_the_device_of_its_keys_where_no_first_token_passes():
    # The meta device refuses to meet the CPU, as a GPU does.
    keys = torch.zeros(2, 3, device="meta")
    context = EditContext(
        responder=None,
        concept=Concept(name="owl"),
        layers=("connector",),
        features=keys,
        rows={},
        knowledge=Knowledge({}, None, (), (), (), (), (), ()),
        seed=0,
        max_change=1.0,
        progress=Silent(),
        record=lambda row: None,
        save=lambda state: None,
        _moments={"connector": SecondMoment(3).update(keys), "connector#opening": SecondMoment(3)},
    )
    assert context.moment("connector").device.type == "meta"
