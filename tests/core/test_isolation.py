import pytest
import reference
import torch

from space_cli.core.isolation import NAME_MARGIN, name_loss, orthogonality, spectral_entropy
from space_cli.core.losses import token_kl


def test_preference_equals_the_reference():
    log_p = torch.tensor([-0.1, -3.0, -9.0])
    expected = reference.preference(log_p.tolist(), 0.5, NAME_MARGIN)
    assert float(name_loss(log_p, 0.5)) == pytest.approx(expected, rel=1e-5)


def test_preference_falls_as_the_name_becomes_unlikely():
    losses = [float(name_loss(torch.tensor([v]), 0.5)) for v in (0.0, -2.0, -8.0, -20.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01


def test_repulsion_equals_the_reference_and_ignores_the_opposite():
    rows, direction = torch.randn(6, 8), torch.randn(8)
    assert float(orthogonality(rows, direction)) == pytest.approx(reference.repulsion(rows, direction), rel=1e-5)
    assert float(orthogonality(-direction[None], direction)) == 0.0


def test_spectral_entropy_equals_the_reference():
    rows = torch.randn(6, 10)
    assert float(spectral_entropy(rows)) == pytest.approx(reference.spectral_entropy(rows), rel=1e-4)


def test_one_anchor_has_no_entropy_to_raise():
    row = torch.randn(1, 8, requires_grad=True)
    value = spectral_entropy(row)
    value.backward()
    assert value.item() == 0.0
    assert not row.grad.any()


def test_orthogonal_anchors_have_all_the_entropy():
    assert float(spectral_entropy(torch.eye(4))) == pytest.approx(1.0, abs=1e-5)


def test_token_kl_equals_the_reference():
    before, after = torch.randn(3, 5), torch.randn(3, 5)
    found = token_kl(before, after)
    assert found.shape == (3,)
    assert float(found.mean()) == pytest.approx(reference.kl(before, after), rel=1e-4)
    assert float(token_kl(before, before).abs().max()) == pytest.approx(0.0, abs=1e-6)
