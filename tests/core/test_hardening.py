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


def test_what_all_tokens_share_is_found_where_each_ones_own_way_is_short(features):
    # One token's gradient is a hundred times the others', which agree with one another.
    weight = torch.full((7,), 0.01)
    weight[0] = 1.0
    ways = torch.eye(6)[[0, 1, 1, 1, 1, 1, 1]] * weight[:, None]

    def objective(seen):
        return (seen * ways).sum((1, 2))

    def moved(share):
        options = Hardening(steps=4, dropout=0.0, noise=0.0, share=share)
        return harden(objective, features, options, torch.Generator().manual_seed(0)) - features

    alone, together = moved(0.0), moved(1.0)
    assert (alone[:, 1:].norm(dim=-1) < 0.02 * alone[:, :1].norm(dim=-1)).all()
    torch.testing.assert_close(together, together[:, :1].expand_as(together))
    between = moved(0.5)
    assert (between[:, 1:].norm(dim=-1) > alone[:, 1:].norm(dim=-1)).all()
