"""The checkpoint to erase from is opened only where the result will lie elsewhere; what a layer's receipt says."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from erased_folder import PANDA, make_base

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.moments import SecondMoment
from space_cli.core.recipe import EraseRequest
from space_cli.core.types import Edit
from space_cli.io.checkpoint import open_checkpoint
from space_cli.stages import editing
from space_cli.stages.editing import _retained_energy, edited_weights, layer_receipts, open_base, rounded_changes
from space_cli.stages.erase import plan


@pytest.mark.parametrize(("place", "why"), [(".", "is the checkpoint to erase from"), (".space/erased", "lies inside")])
def test_a_place_in_the_checkpoint_is_refused_before_a_header_is_read(tmp_path, monkeypatch, place, why):
    base = make_base(tmp_path / "base", torch.float16)
    monkeypatch.setattr("space_cli.stages.editing.open_checkpoint", lambda folder: pytest.fail("it was opened"))
    with pytest.raises(UsageFault, match=why):
        open_base(EraseRequest(concept=PANDA, model=str(base), anchors="anchors"), base / place)


@pytest.mark.parametrize("mixed", [torch.eye(2), 10 * torch.eye(2), torch.tensor([[1.0, 1.0], [0.0, 0.1]])])
def test_the_share_of_energy_is_that_of_the_directions_however_their_factors_are_scaled(mixed):
    moment = SecondMoment(4).update(torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))).mean()
    edit = Edit("layer", left=torch.ones(3, 2), right=mixed @ torch.eye(4)[1:3])
    assert _retained_energy(edit, moment) == pytest.approx((9 + 4) / 30)


def test_a_direction_that_is_there_twice_counts_once_and_none_for_nothing():
    moment = SecondMoment(4).update(torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))).mean()
    assert _retained_energy(Edit("layer", left=torch.ones(3, 2), right=torch.eye(4)[[1, 1]]), moment) == pytest.approx(
        0.3
    )
    assert _retained_energy(Edit("layer", left=torch.ones(3, 0), right=torch.ones(0, 4)), moment) == 0


@pytest.mark.parametrize(
    ("left", "why"), [(torch.full((3, 1), torch.inf), "is not finite"), (torch.ones(2, 1), "its edit has")]
)
def test_an_edit_that_cannot_be_written_is_refused_before_it_is_measured(left, why):
    base = SimpleNamespace(
        parameters={"a": "a.weight"}, checkpoint=SimpleNamespace(tensor=lambda name: torch.ones(3, 4).half())
    )
    with pytest.raises(ArtifactFault, match=why):
        edited_weights(base, [Edit("a", left=left, right=torch.ones(1, 4))])


def test_the_change_that_is_measured_is_that_of_the_stored_weight():
    weight = torch.full((1, 2), 1.0).half()
    base = SimpleNamespace(parameters={"a": "a.weight"}, checkpoint=SimpleNamespace(tensor=lambda name: weight))
    edited = edited_weights(base, [Edit("a", left=torch.tensor([[1.0]]), right=torch.tensor([[1e-4, 0.25]]))])
    assert edited["a"].tolist() == [[1.0, 1.25]]
    assert rounded_changes(base, edited)["a"].tolist() == [[0.0, 0.25]]


def test_a_receipt_is_worked_out_where_the_keys_are_layer_by_layer(monkeypatch):
    # The meta device refuses to meet the CPU, as a GPU does; edits and weights lie on the CPU.
    keys = torch.ones(5, 4, device="meta")
    moments = {name: SecondMoment(4).update(keys) for name in ("a", "b")}
    bars, told = [], []
    context = SimpleNamespace(
        knowledge=SimpleNamespace(held_out=(), held_out_texts=()),
        features=keys,
        moments=lambda *_, **__: moments,
        progress=SimpleNamespace(task=lambda label, total: nullcontext(lambda: bars.append((label, total)))),
    )
    base = SimpleNamespace(
        parameters={"a": "a.weight", "b": "b.weight"},
        checkpoint=SimpleNamespace(tensor=lambda name: 2 * torch.ones(3, 4, dtype=torch.float16)),
    )

    def placed(*tensors):
        told.append({tensor.device.type for tensor in tensors})
        return 0.0

    monkeypatch.setattr(editing, "leak_share", placed)
    monkeypatch.setattr(editing, "leverage", placed)
    monkeypatch.setattr(editing, "used_directions", lambda edits, device: torch.ones(4, 1, device=device))
    found = [Edit(name, left=torch.ones(3, 1), right=torch.ones(1, 4)) for name in ("a", "b")]
    receipts = layer_receipts(context, base, found, {name: torch.ones(3, 4) for name in ("a", "b")})
    assert told == [{"meta"}] * 6
    assert not moments, "a layer's moment is let go once it is read"
    assert bars == [("measuring layers", 2)] * 2
    assert [one.relative_change for one in receipts] == [pytest.approx(0.5)] * 2


def test_the_plan_tells_what_a_gpu_needs_at_least():
    base = checkpoint_folder()
    told = plan(EraseRequest(concept=PANDA, model=str(base), anchors="anchors"))
    headers = open_checkpoint(base).parameters
    widths = [headers[name].shape[1] for name in told["layers"]]
    moments = sum(2 * 8 * width**2 for width in widths)
    assert told["gpu_memory_bytes"] == told["checkpoint_bytes"] + moments + 3 * 8 * max(widths) ** 2
    assert told["memory_bytes"] == int(1.3 * 4 * told["parameters"]) + moments
