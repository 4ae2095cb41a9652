"""Gradients that float16 cannot hold are found all the same, and those of wider numbers stay as they are to the bit."""

import pytest
import subjects
import torch

from space_cli.core.descent import Descent
from space_cli.core.hardening import Hardening, harden
from space_cli.core.losses import answer_log_likelihood
from space_cli.core.perturbing import Perturbing, universal
from space_cli.core.scaling import SCALES, LossScale, Optimiser
from space_cli.core.types import Prompt

TINY, HUGE = 1e-9, 1e3
"""Gradients below what float16 holds, and ones that it holds until they are multiplied."""


def generator():
    return torch.Generator().manual_seed(0)


def half(values, steepness):
    """Return a sum whose gradient passes through float16."""
    return values.half().float().sum() * steepness


@pytest.mark.parametrize("steepness", [TINY, 1.0])
def test_a_small_gradient_is_found_through_half_precision(steepness):
    values = torch.ones(3, requires_grad=True)
    assert LossScale().gradient(half(values, steepness), values).tolist() == pytest.approx([steepness] * 3, rel=1e-2)


def test_what_is_too_large_counts_as_zero_once():
    values, scale = torch.ones(3, requires_grad=True), LossScale()
    assert scale.gradient(half(values, HUGE), values).tolist() == [0.0] * 3
    for _ in SCALES:
        found = scale.gradient(half(values, HUGE), values).tolist()
    assert found == pytest.approx([HUGE] * 3)


def test_what_is_no_number_without_a_factor_either_is_told():
    values, scale = torch.ones(2, requires_grad=True), LossScale()
    for _ in SCALES:
        found = scale.gradient(values.sum() * torch.inf, values)
    assert not found.isfinite().any()


def test_gradients_add_up_and_what_is_not_passed_has_none():
    one, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    scale = LossScale()
    for _ in range(2):
        scale.backward(half(one, TINY), [one, other])
    assert one.grad.tolist() == pytest.approx([2 * TINY] * 2, rel=1e-2)
    assert other.grad is None
    assert scale.gradient(half(one, 1.0), other).tolist() == [0.0, 0.0]


def test_in_single_precision_no_bit_changes():
    responder, (_, features, _) = subjects.bundled(), subjects.material()
    own = features[:2].clone().requires_grad_(True)
    batch = responder.batch([Prompt("What is this?", "This is an owl.", row) for row in range(2)])

    def told():
        return answer_log_likelihood(responder.answer_logits(batch, own), batch).sum()

    (plain,) = torch.autograd.grad(told(), own)
    assert torch.equal(LossScale().gradient(told(), own), plain)


def test_a_push_finds_its_way_in_half_precision():
    features = torch.randn(2, 5, 4, generator=generator()).half()
    options = Hardening(steps=4, noise=0.0, dropout=0.0)
    pushed = harden(lambda seen: seen.half().float().sum((1, 2)) * TINY, features, options, generator())
    assert (pushed.sum((1, 2)) > features.float().sum((1, 2)) + 1).all()


def test_a_pattern_of_pixels_finds_its_way_in_half_precision():
    shift = universal(
        lambda seen: seen.half().float().sum((1, 2, 3)) * TINY, torch.full((2, 3, 4, 4), 0.5), Perturbing(), generator()
    )
    assert (shift > 0).all()


class Free:
    """What a descent trains, without a law to keep."""

    def __init__(self):
        self.widened = 0
        self.left = {"a": torch.zeros(3, requires_grad=True)}

    def step(self, optimiser):
        optimiser.step()


def test_a_descent_that_is_continued_takes_the_steps_of_one_that_was_not():
    """A factor that was too large costs a step; begun anew with it, a continued run would lose that step again."""
    whole, cut = Free(), Free()
    first, last = Descent(whole, lr=0.1), Descent(cut, lr=0.1)
    for number in (1, 2, 3):
        first.step(number, [{"loss": half(whole.left["a"], HUGE)}])
    last.restore({name: tensor.detach().clone() for name, tensor in first.state().items()})
    for free, descent in ((whole, first), (cut, last)):
        descent.step(4, [{"loss": half(free.left["a"], HUGE)}])
    assert torch.equal(whole.left["a"], cut.left["a"])
    assert (whole.left["a"] < 0).all()


def test_a_descent_and_a_lesson_step_along_small_gradients():
    free = Free()
    Descent(free, lr=0.1).step(1, [{"loss": half(free.left["a"], TINY)}])
    assert (free.left["a"] < 0).all()
    learnt = torch.zeros(3, requires_grad=True)
    optimiser = Optimiser([learnt], 0.1)
    optimiser.backward(half(learnt, TINY))
    optimiser.step()
    assert (learnt < 0).all()
