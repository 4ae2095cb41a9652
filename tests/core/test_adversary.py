"""The adversary beside a training: what it does to the checkpoint, and what pressing the name under it costs."""

import random

from dataclasses import replace

import pytest
import subjects
import torch

from space_cli.core import relearning
from space_cli.core.adversary import Adversary, Effort
from space_cli.core.isolation import name_loss
from space_cli.core.losses import token_log_likelihood
from space_cli.core.naming import Naming

ROWS, STEP, BETA = [4, 0, 7], 3, 1.5


@pytest.fixture(scope="module")
def setting():
    context = subjects.context()
    naming = Naming(context.responder, context.concept, context.knowledge.forms, 0)
    return context, naming, context.of_role("forget"), subjects.drawn_factors(context)


def adversary_of(context, naming, proxies, *, steps=4, lr=1e-3, lives=1):
    found = Adversary(context, naming, proxies, Effort(steps, lr))
    for turn in range(lives):
        found.begin(turn)
    return found


def test_the_name_is_taught_on_plain_proxies_and_no_weight_moves(setting):
    context, naming, proxies, factors = setting
    adversary = adversary_of(context, naming, proxies, steps=12)
    weights = {name: value.clone() for name, value in context.responder.model.state_dict().items()}
    lefts = [left.clone() for left, _ in factors.values()]

    def named():
        told = list(adversary.terms(proxies, factors, STEP, BETA))
        return sum(told).item()

    before = named()
    adversary.attack(factors, STEP)
    assert named() > before + 0.5  # the cost of a name that is likelier
    assert all(torch.equal(weights[name], value) for name, value in context.responder.model.state_dict().items())
    assert all(torch.equal(old, left) for old, (left, _) in zip(lefts, factors.values(), strict=True))
    assert all(left.grad is None for left, _ in factors.values())


@pytest.mark.parametrize("together", [1, 2, 8])
def test_the_cost_is_that_of_weights_which_carry_both_changes(setting, monkeypatch, together):
    context, naming, proxies, factors = setting
    adversary = adversary_of(context, naming, proxies)
    adversary.attack(factors, STEP)
    monkeypatch.setattr(relearning, "rows_at_once", lambda *_: together)
    shares = list(adversary.terms(proxies[ROWS], factors, STEP, BETA))
    assert len(shares) == -(-len(ROWS) // together)
    leaves = [left for left, _ in factors.values()]
    gradients = torch.autograd.grad(sum(shares), leaves)

    # By hand: both changes added to the weights, one prompt at a time.
    responder = context.responder
    weights = {}
    for changes in (adversary._adapters, factors):
        for layer, (left, right) in changes.items():
            weight = responder.model.get_parameter(f"{layer}.weight")
            weights.setdefault(layer, weight.detach().clone())
            weights[layer] = weights[layer] + left @ right
    told = []
    for row in range(len(ROWS)):
        prompt = replace(naming.usual[(STEP + row) % len(naming.usual)], image=0)
        batch, shown = responder.batch([prompt]), proxies[ROWS[row]][None]
        merged = {f"{layer}.weight": weight for layer, weight in weights.items()}
        with torch.nn.utils.stateless._reparametrize_module(responder.model, merged):
            told.append(token_log_likelihood(responder.answer_logits(batch, shown), batch))
    slow = name_loss(told, BETA)
    torch.testing.assert_close(sum(shares), slow, rtol=1e-4, atol=1e-5)
    for one, other in zip(gradients, torch.autograd.grad(slow, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_parts_of_a_batch_teach_what_the_whole_batch_does(setting, monkeypatch):
    context, naming, proxies, factors = setting

    def taught(together):
        monkeypatch.setattr(relearning, "rows_at_once", lambda *_: together)
        adversary = adversary_of(context, naming, proxies, steps=1)
        adversary.attack(factors, STEP)
        return torch.cat([left.flatten() for left, _ in adversary._adapters.values()])

    # Adam's first step goes by signs, so an entry whose gradient is nearly zero may go either way.
    agree = (taught(1) - taught(8)).abs() < 1e-6
    assert agree.float().mean() > 0.97


def test_a_life_follows_from_seed_and_turn_whatever_was_before(setting):
    context, naming, proxies, factors = setting

    def lived(lives):
        adversary = adversary_of(context, naming, proxies, steps=2, lives=0)
        for turn in lives:
            random.random()
            adversary.begin(turn)
            adversary.attack(factors, turn)
        return adversary._adapters

    one, other = lived([1, 7]), lived([7])
    assert all(torch.equal(one[layer][0], other[layer][0]) for layer in one)
    assert any(not torch.equal(left, lived([8])[layer][0]) for layer, (left, _) in one.items())


def test_before_its_first_life_there_is_nothing_to_attack_with(setting):
    context, naming, proxies, factors = setting
    adversary = Adversary(context, naming, proxies, Effort(1, 1e-3))
    assert not adversary.begun
    with pytest.raises(RuntimeError, match="has not begun"):
        adversary.attack(factors, 0)
