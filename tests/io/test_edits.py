"""Edits survive the disk: names with dots, factors and dense deltas, and nothing that is no edit."""

import pytest
import torch

from safetensors.torch import save_file

from space_cli.core.errors import ArtifactFault
from space_cli.core.types import Edit
from space_cli.io.artifact import digest_file
from space_cli.io.edits import read_edits, write_edits

LAYER = "model.language_model.layers.0.mlp.down_proj"


def factors(layer: str, rank: int = 2) -> Edit:
    make = torch.Generator().manual_seed(rank)
    return Edit(layer, torch.randn(5, rank, generator=make), torch.randn(rank, 7, generator=make))


def test_round_trip(tmp_path):
    edits = [
        Edit("connector.linear.left", dense=torch.randn(3, 4)),
        factors(LAYER),
        factors(f"{LAYER}.dense", 0),
    ]
    write_edits(tmp_path / "space" / "edits.safetensors", edits)
    again = {edit.layer: edit for edit in read_edits(tmp_path / "space" / "edits.safetensors")}
    assert set(again) == {edit.layer for edit in edits}
    for edit in edits:
        assert torch.equal(again[edit.layer].delta(), edit.delta())
        assert (again[edit.layer].dense is None) == (edit.dense is None)


def test_read_is_sorted_and_no_edit_is_no_edit(tmp_path):
    write_edits(tmp_path / "edits.safetensors", [factors("b.2"), factors("a.10"), factors("a.2")])
    assert [edit.layer for edit in read_edits(tmp_path / "edits.safetensors")] == ["a.10", "a.2", "b.2"]
    write_edits(tmp_path / "none.safetensors", [])
    assert read_edits(tmp_path / "none.safetensors") == []


def test_same_edits_same_bytes_in_any_order(tmp_path):
    edits = [factors("b"), factors("a"), Edit("c", dense=torch.ones(2, 2))]
    write_edits(tmp_path / "one.safetensors", edits)
    write_edits(tmp_path / "two.safetensors", edits[::-1])
    assert digest_file(tmp_path / "one.safetensors") == digest_file(tmp_path / "two.safetensors")


def test_shared_memory_gradients_and_views(tmp_path):
    basis = torch.randn(2, 7, requires_grad=True)
    edits = [Edit("a", torch.randn(2, 5).double().T, basis), Edit("b", torch.randn(3, 2), basis)]
    write_edits(tmp_path / "edits.safetensors", edits)
    first, second = read_edits(tmp_path / "edits.safetensors")
    assert torch.equal(first.right, basis)
    assert torch.equal(second.right, basis)
    assert torch.equal(first.left, edits[0].left.float())


@pytest.mark.parametrize(
    "edits",
    [
        [factors("a"), factors("a")],
        [Edit("a")],
        [Edit("a", left=torch.ones(2, 1))],
        [Edit("a", torch.ones(2, 1), torch.ones(1, 2), torch.ones(2, 2))],
    ],
)
def test_what_is_no_set_of_edits_is_our_own_mistake(tmp_path, edits):
    with pytest.raises(AssertionError):
        write_edits(tmp_path / "edits.safetensors", edits)
    assert not (tmp_path / "edits.safetensors").exists()


@pytest.mark.parametrize(
    "tensors",
    [
        {"a.left": torch.ones(2, 1)},
        {"a.left": torch.ones(2, 1), "a.right": torch.ones(2, 2)},
        {"a.left": torch.ones(2, 1), "a.right": torch.ones(1, 2), "a.dense": torch.ones(2, 2)},
        {"a.weight": torch.ones(2, 2)},
        {"dense": torch.ones(2, 2)},
        {"a.dense": torch.ones(2)},
        {"a.dense": torch.ones(2, 2).half()},
    ],
)
def test_foreign_tensors_are_refused(tmp_path, tensors):
    save_file(tensors, tmp_path / "edits.safetensors")
    with pytest.raises(ArtifactFault, match="holds no edit of the layer"):
        read_edits(tmp_path / "edits.safetensors")


def test_missing_and_corrupt(tmp_path):
    path = tmp_path / "edits.safetensors"
    with pytest.raises(ArtifactFault, match="is missing"):
        read_edits(path)
    write_edits(path, [factors("a")])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactFault, match="corrupt or truncated"):
        read_edits(path)


def test_thin_factors_of_an_endless_product_are_refused(tmp_path):
    path = tmp_path / "edits.safetensors"
    write_edits(path, [Edit(LAYER, torch.ones(1_000_000, 0), torch.ones(0, 1_000_000)), factors("a")])
    with pytest.raises(ArtifactFault, match=r"by \[1000000, 1000000\]: no parameter has that shape"):
        read_edits(path, {(5, 7)})
    write_edits(path, [factors("a"), Edit("b", dense=torch.ones(2, 2))])
    assert len(read_edits(path, {(5, 7)})) == 2
