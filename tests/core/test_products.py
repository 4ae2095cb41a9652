import math

import pytest
import torch

from space_cli.core import products
from space_cli.core.products import product_in_order
from space_cli.core.types import Edit


def one_by_one(left, right):
    """The same sums without a tensor: Python rounds as IEEE 754 says."""
    return [
        [torch.tensor(sum((a * b for a, b in zip(row, column, strict=True)), 0.0)).float().item() for column in right]
        for row in left
    ]


@pytest.mark.parametrize("at_once", [1, 7, 2**14])
def test_sums_are_those_of_a_written_order_however_many_are_made_at_once(monkeypatch, at_once):
    monkeypatch.setattr(products, "AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    # Terms of all sizes and both signs, so that another order has other last bits.
    left, right = (
        torch.randn(shape, generator=generator) * torch.randn(shape, generator=generator).exp() ** 4
        for shape in ((5, 33), (33, 6))
    )
    found = product_in_order(left, right)
    assert found.dtype == torch.float32
    assert found.tolist() == one_by_one(left.tolist(), right.T.tolist())
    assert not torch.equal(found, left @ right), "a library's product is another one: the test can fail"
    torch.testing.assert_close(found, (left.double() @ right.double()).float())


def test_the_number_of_threads_changes_no_bit():
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(300, 64, generator=generator), torch.randn(64, 500, generator=generator)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(Edit("layer", left, right).written_delta())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_an_edit_of_rank_nought_is_none_and_a_dense_one_is_itself():
    nothing = Edit("layer", torch.empty(3, 0), torch.empty(0, 4)).written_delta()
    assert nothing.shape == (3, 4)
    assert not nothing.any()
    dense = torch.full((2, 2), math.pi)
    assert torch.equal(Edit("layer", dense=dense).written_delta(), dense)
