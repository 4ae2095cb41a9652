"""A changed linear answers as if its weight were the sum, however the sum is come by."""

import pytest
import torch

from torch import nn

from space_cli.core import hooks
from space_cli.core.hooks import editing, fixed, watching

WIDE, NARROW, RANK = 24, 16, 6


def small():
    torch.manual_seed(3)
    return nn.ModuleDict({"up": nn.Linear(NARROW, WIDE), "down": nn.Linear(WIDE, NARROW, bias=False)})


def factors(*, trained):
    torch.manual_seed(4)
    low = [(torch.randn(o, RANK) / 9, torch.randn(RANK, i) / 9) for o, i in ((WIDE, NARROW), (NARROW, WIDE))]
    if trained:
        [left.requires_grad_(True) for left, _ in low]
    return dict(zip(("up", "down"), low, strict=True))


def dense(changes):
    return {name: (left @ right).detach() for name, (left, right) in changes.items()}


def through(model, inputs):
    return model["down"](torch.tanh(model["up"](inputs)))


def summed(model, changes):
    """The slow reference: a copy whose weights are the sums."""
    found = small()
    found.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name, change in dense(changes).items():
            found[name].weight += change
    return found


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("count", [1, 7, 400])
@pytest.mark.parametrize("large", [0, 4_000_000])
def test_answers_and_gradients_are_those_of_the_sum_whichever_way_is_cheaper(monkeypatch, trained, count, large):
    monkeypatch.setattr(hooks, "LARGE", large)
    model, changes = small().requires_grad_(False), factors(trained=trained)
    inputs = torch.randn(2, count, NARROW, generator=torch.Generator().manual_seed(5)).requires_grad_(True)
    with editing(model, changes):
        found = through(model, inputs)
        (found * found.detach().cos()).sum().backward()
    got, lefts = inputs.grad.clone(), [left.grad for left, _ in changes.values()]
    inputs.grad = None
    reference = summed(model, changes)
    told = through(reference, inputs)
    (told * told.detach().cos()).sum().backward()
    torch.testing.assert_close(found, told, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got, inputs.grad, rtol=1e-4, atol=1e-5)
    for (name, (_, right)), left in zip(changes.items(), lefts, strict=True):
        if trained:
            torch.testing.assert_close(left, reference[name].weight.grad @ right.T, rtol=1e-4, atol=1e-4)
        else:
            assert left is None


def test_adapters_whose_factors_are_both_trained_get_their_gradients():
    model, changes = small().requires_grad_(False), factors(trained=True)
    [right.requires_grad_(True) for _, right in changes.values()]
    inputs = torch.randn(9, NARROW)
    with editing(model, changes):
        through(model, inputs).square().sum().backward()
    reference = summed(model, changes)
    through(reference, inputs).square().sum().backward()
    for name, (left, right) in changes.items():
        whole = reference[name].weight.grad
        torch.testing.assert_close(left.grad, whole @ right.detach().T, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(right.grad, left.detach().T @ whole, rtol=1e-4, atol=1e-4)


def test_a_dense_change_that_is_trained_gets_the_gradient_of_the_sum():
    model, changes = small().requires_grad_(False), dense(factors(trained=False))
    [change.requires_grad_(True) for change in changes.values()]
    inputs = torch.randn(9, NARROW)
    with editing(model, changes):
        through(model, inputs).square().sum().backward()
    reference = summed(model, factors(trained=False))
    through(reference, inputs).square().sum().backward()
    for name, change in changes.items():
        torch.testing.assert_close(change.grad, reference[name].weight.grad, rtol=1e-4, atol=1e-4)


def test_in_half_precision_what_is_trained_keeps_its_own():
    model, changes = small().requires_grad_(False).bfloat16(), factors(trained=True)
    inputs = torch.randn(9, NARROW).bfloat16().requires_grad_(True)
    with editing(model, changes):
        found = through(model, inputs)
        found.sum().backward()
    assert (found.dtype, inputs.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    assert all(left.grad.dtype == torch.float32 for left, _ in changes.values())


def test_what_stays_as_it_is_is_added_once_and_holds_for_a_gradient_after_an_answer_without_one():
    model, changes = small().requires_grad_(False), factors(trained=True)
    inputs = torch.randn(3, NARROW)
    with editing(model, fixed(changes)):
        made = vars(model["up"])["forward"]
        with torch.inference_mode():
            told = through(model, inputs)
        one = made._sum
        through(model, inputs.requires_grad_(True)).sum().backward()
        assert made._sum is one
        torch.testing.assert_close(through(model, inputs), told.clone(), rtol=1e-6, atol=1e-6)
    assert inputs.grad is not None
    assert all(left.grad is None for left, _ in changes.values())


def test_what_is_trained_within_a_block_is_seen_as_it_is_now():
    model, changes = small().requires_grad_(False), factors(trained=True)
    inputs = torch.randn(400, NARROW)
    with editing(model, changes), torch.no_grad():
        before = through(model, inputs)
        changes["up"][0].add_(1.0)
        after = through(model, inputs)
    torch.testing.assert_close(after, through(summed(model, changes), inputs), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, after)


def test_a_dense_change_is_added_like_its_factors():
    model, changes = small(), factors(trained=False)
    inputs = torch.randn(5, NARROW)
    with torch.no_grad(), editing(model, dense(changes)):
        torch.testing.assert_close(through(model, inputs), through(summed(model, changes), inputs))


def test_a_change_within_a_change_adds_to_it_and_each_ends_with_its_block():
    model, changes = small(), factors(trained=False)
    inputs, plain = torch.randn(5, NARROW), small()
    with torch.no_grad():
        with editing(model, changes):
            once = through(model, inputs)
            with editing(model, changes):
                twice = through(model, inputs)
            torch.testing.assert_close(through(model, inputs), once)
        double = {name: (2 * left, right) for name, (left, right) in changes.items()}
        torch.testing.assert_close(twice, through(summed(model, double), inputs))
        assert torch.equal(through(model, inputs), through(plain, inputs))


def test_nothing_is_left_where_the_block_breaks():
    model = small()
    with pytest.raises(RuntimeError, match="shapes"), editing(model, factors(trained=False)):
        through(model, torch.randn(2, NARROW + 1))
    assert all("forward" not in vars(layer) and not layer._forward_hooks for layer in model.values())


def test_a_watcher_sees_the_inputs_of_a_changed_layer():
    model, seen = small(), []
    with (
        editing(model, factors(trained=False)),
        watching(model, ["down"], lambda name, inputs: seen.append((name, inputs.shape))),
    ):
        through(model, torch.randn(2, NARROW))
    assert seen == [("down", (2, WIDE))]
