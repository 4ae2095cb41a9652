import pytest
import reference
import torch

from space_cli.core.errors import UsageFault
from space_cli.core.linalg import anchor_basis, leak_share, leverage, safe_basis, within_norm
from space_cli.core.moments import SecondMoment


@pytest.fixture
def keys():
    generator = torch.Generator().manual_seed(0)
    # 12 of 20 directions in use.
    return torch.randn(200, 12, generator=generator) @ torch.randn(12, 20, generator=generator)


def moment_of(keys):
    return SecondMoment(keys.shape[1]).update(keys[:50]).update(keys[50:]).mean()


def test_moment_equals_the_mean_outer_product(keys):
    torch.testing.assert_close(moment_of(keys), reference.second_moment(keys), rtol=1e-5, atol=1e-5)


def test_moment_of_nothing_is_zero():
    assert not SecondMoment(3).mean().any()


def test_basis_is_orthonormal_and_finds_every_unused_direction(keys):
    basis = safe_basis(moment_of(keys), 0.0)
    assert basis.shape == (20, 8)
    torch.testing.assert_close(basis.T @ basis, torch.eye(8, dtype=torch.float64))


def test_an_edit_in_the_exact_null_space_leaks_nothing(keys):
    basis = safe_basis(moment_of(keys), 0.0)
    weight = torch.randn(6, 20)
    delta = torch.randn(6, 8) @ basis.T.float()
    assert leak_share(delta, weight, moment_of(keys)) < 1e-5
    free = torch.randn(6, 20)
    assert leak_share(free, weight, moment_of(keys)) > 0.5


def test_leak_share_equals_the_reference(keys):
    weight, delta = torch.randn(6, 20), 0.1 * torch.randn(6, 20)
    expected = reference.leak(delta, weight, keys)
    assert leak_share(delta, weight, moment_of(keys)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("share", [1e-3, 1e-2, 0.1])
def test_unprotected_energy_stays_within_its_share(share):
    keys = torch.randn(500, 16) * torch.logspace(0, -3, 16)
    moment = moment_of(keys)
    basis = safe_basis(moment, share)
    assert 0 < basis.shape[1] < 16
    assert leverage(moment, basis) <= share


def test_scaling_all_activations_changes_no_basis(keys):
    first, second = safe_basis(moment_of(keys), 1e-2), safe_basis(moment_of(keys * 1000), 1e-2)
    torch.testing.assert_close(first @ first.T, second @ second.T, atol=1e-6, rtol=0)


def test_a_full_spectrum_leaves_no_direction():
    assert safe_basis(torch.eye(4, dtype=torch.float64), 0.1).shape == (4, 0)


def test_no_keys_leave_every_direction():
    assert safe_basis(torch.zeros(4, 4), 0.0).shape == (4, 4)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(UsageFault, match="must lie in"):
        safe_basis(torch.eye(3), share)


def test_anchor_basis_lies_inside_and_finds_the_anchors(keys):
    basis = safe_basis(moment_of(keys), 0.0)
    wanted = basis[:, 2]
    anchors = torch.outer(torch.randn(40), wanted.float()) + 0.01 * torch.randn(40, 20)
    chosen = anchor_basis(moment_of(anchors), basis, 3)
    assert chosen.shape == (20, 3)
    torch.testing.assert_close(basis @ (basis.T @ chosen), chosen)
    assert abs(float(chosen[:, 0] @ wanted)) > 0.99


def test_rank_beyond_the_free_directions_takes_them_all(keys):
    basis = safe_basis(moment_of(keys), 0.0)
    assert anchor_basis(moment_of(keys), basis, 100).shape == (20, 8)


def test_leverage_of_nothing_is_zero():
    assert leverage(torch.zeros(4, 4), torch.eye(4, dtype=torch.float64)) == 0.0


def test_within_norm_shrinks_only_what_is_too_long():
    matrix = torch.ones(3, 3)
    assert within_norm(matrix, 10.0) is matrix
    assert float(within_norm(matrix, 1.0).norm()) == pytest.approx(1.0)
