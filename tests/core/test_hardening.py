import pytest
import torch

from space_cli.core.hardening import Hardening, harden


@pytest.fixture
def features():
    return torch.randn(5, 7, 6, generator=torch.Generator().manual_seed(3))


def towards(direction):
    return lambda seen: seen.mean(1) @ direction


def test_the_objective_rises_for_every_proxy(features):
    objective = towards(torch.ones(6))
    pushed = harden(objective, features, Hardening(), torch.Generator().manual_seed(0))
    assert (objective(pushed) > objective(features)).all()


@pytest.mark.parametrize("radius", [0.1, 0.5, 2.0])
def test_no_token_leaves_its_radius(features, radius):
    options = Hardening(steps=40, radius=radius)
    pushed = harden(towards(torch.ones(6)), features, options, torch.Generator().manual_seed(0))
    size = features.pow(2).sum(-1).mean(-1).sqrt()
    moved = (pushed - features).norm(dim=-1)
    assert (moved <= radius * size[:, None] * (1 + 1e-5)).all()
    assert (moved.amax(1) > 0.5 * radius * size).all()


def test_same_seed_same_result_other_seed_another(features):
    def run(seed):
        return harden(towards(torch.ones(6)), features, Hardening(steps=4), torch.Generator().manual_seed(seed))

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_a_start_is_continued(features):
    objective = towards(torch.ones(6))
    once = harden(objective, features, Hardening(steps=3), torch.Generator().manual_seed(0))
    twice = harden(objective, features, Hardening(steps=3), torch.Generator().manual_seed(0), start=once)
    assert (objective(twice) > objective(once)).all()


def test_inputs_are_left_alone(features):
    kept = features.clone()
    harden(towards(torch.ones(6)), features, Hardening(steps=2), torch.Generator().manual_seed(0))
    assert torch.equal(features, kept)
