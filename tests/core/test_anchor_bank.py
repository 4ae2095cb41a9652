"""Anchors that are pushed in their features and in the decoder's hidden states."""

import pytest
import subjects
import torch

from space_cli.core.anchor_bank import AnchorBank
from space_cli.core.hardening import Hardening
from space_cli.core.naming import Naming

DEPTHS = 2


@pytest.fixture(scope="module")
def hardened():
    context = subjects.context()
    naming = Naming(context.responder, context.concept, context.knowledge.forms, 0)
    generator = torch.Generator().manual_seed(0)
    bank = AnchorBank(context, naming, Hardening(steps=12), generator, depths=DEPTHS)
    bank.harden_base()
    return naming, bank, context.features.shape[-1]


def parted(drawn, width):
    """Split drawn anchors into features [n, p, v] and one part for each depth."""
    beside = drawn[..., width:]
    return drawn[..., :width], beside.chunk(DEPTHS, dim=-1)


def test_an_anchor_is_pushed_in_one_way_and_every_way_is_drawn(hardened):
    _, bank, width = hardened
    ways = set()
    for step in range(6):
        bank.reseed(step)
        drawn, rows = bank.draw(6)
        features, shifts = parted(drawn, width)
        for row, own, *beside in zip(rows, features, *shifts, strict=True):
            moved = [not torch.equal(own, bank.proxies[row]), *(bool(shift.any()) for shift in beside)]
            assert sum(moved) == 1
            ways.add(moved.index(True))
    assert ways == set(range(DEPTHS + 1))


def test_every_way_leads_nearer_to_the_name(hardened):
    naming, bank, width = hardened
    silent = float(naming.activation(bank.proxies).mean())
    bank.reseed(0)
    drawn, rows = bank.draw(len(bank.proxies))
    features, shifts = parted(drawn, width)
    told = naming.activation(drawn)
    ways = [(features != bank.proxies[rows]).any(-1).any(-1), *(shift.any(-1).any(-1) for shift in shifts)]
    for way in ways:
        assert float(told[way].mean()) > silent + 2.0


def test_a_refresh_takes_the_depths_in_turn(hardened):
    _, bank, _ = hardened
    before = bank.state()["shifts"].clone()
    bank.refresh({}, 4, turn=1)
    after = bank.state()["shifts"]
    assert torch.equal(after[0], before[0])
    assert int((after[1] != before[1]).any(-1).any(-1).sum()) == 4


def test_half_of_a_refresh_begins_at_the_proxies_and_has_its_own_budget():
    context = subjects.context()
    naming = Naming(context.responder, context.concept, context.knowledge.forms, 0)
    generator = torch.Generator().manual_seed(0)
    bank = AnchorBank(context, naming, Hardening(steps=2), generator, fresh=Hardening(steps=0))
    bank.harden_base()
    base = bank.base.clone()
    bank.refresh({}, 5, turn=1)
    current = bank.state()["current"]
    back, same = ((current == one).all(-1).all(-1) for one in (bank.proxies, base))
    assert (int(back.sum()), int(same.sum())) == (3, len(base) - 5)  # and two were pushed on from the first hardening


@pytest.mark.parametrize(("first", "fresh"), [(0, 1), (1, 0)])
def test_half_precision_features_are_pushed_again_where_one_of_the_pushes_takes_no_step(first, fresh):
    context = subjects.context()
    context.features = context.features.bfloat16()  # as a tower on a GPU gives them out
    naming = Naming(context.responder, context.concept, context.knowledge.forms, 0)
    generator = torch.Generator().manual_seed(0)
    bank = AnchorBank(context, naming, Hardening(steps=first), generator, fresh=Hardening(steps=fresh), depths=1)
    bank.harden_base()
    bank.refresh({}, 4, turn=1)
    assert {tensor.dtype for tensor in bank.state().values()} == {torch.float32}


def test_without_depths_features_alone_are_pushed():
    context = subjects.context()
    naming = Naming(context.responder, context.concept, context.knowledge.forms, 0)
    bank = AnchorBank(context, naming, Hardening(steps=1), torch.Generator().manual_seed(0))
    bank.harden_base()
    assert bank.draw(3)[0].shape[-1] == context.features.shape[-1]
    assert set(bank.state()) == {"current"}
