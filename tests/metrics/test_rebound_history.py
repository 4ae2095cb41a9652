"""Rebound and history, on a checkpoint whose knowledge hangs on the weight of one layer."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from fakes import Table, knowing, picture, probe, shown
from torch import nn

from space_cli.core.continual import HISTORY, REBOUND, named_share, on_anchors, other_things, undone
from space_cli.core.earlier import Earlier
from space_cli.core.hooks import editing
from space_cli.core.protocols import Silent
from space_cli.core.recipe import Concept
from space_cli.core.types import Edit, ErasedBefore, Probe
from space_cli.metrics import history, rebound, retained_since_first


class Hinged(Table):
    """Knows a name while its own column of the layer's output is positive; the rest it always knows."""

    def __init__(self, **weights):
        super().__init__(self._say)
        self.model = nn.Sequential()
        self.columns = list(weights)
        layer = nn.Linear(1, len(weights), bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[float(weight)] for weight in weights.values()]))
        self.model.add_module("layer", layer)

    def _say(self, name, question):
        (values,) = self.model(torch.ones(1, 1)).tolist()
        gone = [column for column, value in zip(self.columns, values, strict=True) if value <= 0]
        return knowing(*gone)(name, question)


def edit(*column):
    return Edit("layer", left=torch.tensor([[float(value)] for value in column]), right=torch.ones(1, 1))


def earlier(name, later, count=4, **more):
    return ErasedBefore(name, (name,), shown(name, count), undo=undone(later), **more)


def probe_of(*concepts):
    full = probe()
    return Probe(
        name=full.name, phrase=full.phrase, aliases=full.aliases, kind=None, names=full.names, earlier=concepts
    )


# Request 1 takes the tulip (1 -> -1), request 2 the bus; request 2's edit also lifts the tulip again.
SECOND = [edit(2, -2)]


def test_a_name_that_a_later_request_brought_back_is_rebound():
    before, after = Hinged(tulip=-1, bus=1), Hinged(tulip=1, bus=-1)
    found = rebound.measure(before, after, probe_of(earlier("tulip", [SECOND])), rebound.Options())
    assert (found.before, found.after, found.n) == (0.0, 1.0, 1)
    assert found.note.startswith("worst: tulip, named in 0% of answers right after its request and in 100% now")
    kept = history.measure(before, after, probe_of(earlier("tulip", [SECOND])), history.Options())
    assert (kept.before, kept.after, kept.better) == (1.0, 0.0, "higher")


def test_what_was_never_forgotten_has_not_come_back():
    """F[j, j] is 1 there: a failed request is no rebound, and history tells of it."""
    before, after = Hinged(tulip=1, bus=1), Hinged(tulip=1, bus=-1)
    asked = probe_of(earlier("tulip", [[edit(0, -2)]]))
    assert rebound.measure(before, after, asked, rebound.Options()).after == 0.0
    assert history.measure(before, after, asked, history.Options()).after == 0.0


def test_what_a_later_request_took_as_well_does_not_count_against_another():
    """The mean is over concepts, of what rose only: one that fell does not hide one that rose."""
    after = Hinged(tulip=1, bus=-1)
    asked = probe_of(earlier("tulip", [SECOND]), earlier("bus", [[edit(0, -2)]], count=2))
    found = rebound.measure(after, after, asked, rebound.Options())
    assert found.after == pytest.approx(0.5)
    assert found.n == 2
    assert found.parts == {"worst": 1.0, "pictured": 0}, "four pictures and two are too few"
    enough = probe_of(earlier("tulip", [SECOND], count=6), earlier("bus", [[edit(0, -2)]], count=2))
    assert rebound.measure(after, after, enough, rebound.Options()).parts["pictured"] == 1


def test_the_mean_is_over_concepts_however_many_pictures_each_has():
    after = Hinged(tulip=1, bus=-1)
    asked = probe_of(earlier("tulip", [], count=1), earlier("bus", [], count=9))
    assert history.measure(after, after, asked, history.Options()).after == pytest.approx(0.5)


def test_without_pictures_the_kept_anchors_are_asked():
    after = Hinged(tulip=1, bus=-1)
    anchors = after.features([picture("tulip", view) for view in range(3)])
    one = ErasedBefore("tulip", ("tulip",), anchors=anchors, undo=undone([SECOND]))
    found = rebound.measure(after, after, probe_of(one), rebound.Options())
    assert found.after == 1.0
    assert "0 of 1 concepts on 6 images or more" in found.note
    assert found.parts["pictured"] == 0


def test_what_all_requests_together_cost_is_measured_from_before_the_first():
    """Request 1 took the tulip and cost the rose, request 2 the bus and nothing more."""
    after = Hinged(tulip=-1, bus=-1, rose=-1)
    requests = [[edit(-2, 0, -2)], [edit(0, -2, 0)]]
    retain = [*shown("rose", 3), *shown("koala", 2)]
    asked = replace(probe_of(earlier("tulip", requests[1:])), name="bus", retain=retain, undo=undone(requests))
    before_last = Hinged(tulip=-1, bus=1, rose=-1)
    found = retained_since_first.measure(before_last, after, asked, retained_since_first.Options())
    assert (found.before, found.after, found.n, found.better) == (1.0, pytest.approx(0.4), 5, "higher")
    assert found.note == "5 images; over 2 requests"
    assert before_last.asked == 0
    assert after.model.layer.weight.flatten().tolist() == [-1.0, -1.0, -1.0]


def test_edits_are_taken_off_for_asking_only():
    after = Hinged(tulip=1, bus=-1)
    one = earlier("tulip", [SECOND])
    asked = probe_of(one)
    assert named_share(after, one, asked.names, ("What is this?",), then=True) == 0.0
    assert named_share(after, one, asked.names, ("What is this?",)) == 1.0


@pytest.mark.parametrize("dense", [True, False])
def test_what_is_undone_is_the_sum_of_all_edits(dense):
    made = torch.Generator().manual_seed(0)
    lefts, rights = torch.randn(3, 4, 2, generator=made), torch.randn(3, 2, 5, generator=made)
    edits = [Edit("layer", left, right) for left, right in zip(lefts, rights, strict=True)]
    if dense:
        edits[1] = Edit("layer", dense=edits[1].delta())
    layer = nn.Sequential()
    layer.add_module("layer", nn.Linear(5, 4, bias=False))
    keys = torch.randn(7, 5, generator=made)
    plain = layer(keys)
    with torch.no_grad():
        for one in edits:
            layer.layer.weight += one.delta()
    with editing(layer, undone([edits[:2], edits[2:]])):
        assert torch.allclose(layer(keys), plain, atol=1e-5)
    assert undone([]) == {}


def erasing(base, *earlier, concept="rose"):
    """The part of an erasure's context that looks at earlier requests; `base` is the checkpoint that it starts from."""
    kept = [Earlier(Concept(name=name), base.features([picture(name, view) for view in range(3)])) for name in earlier]
    return SimpleNamespace(
        responder=base,
        concept=Concept(name=concept),
        earlier=kept,
        features=kept[0].features if kept else torch.zeros(1, 1, 1),
        progress=Silent(),
        edited=lambda changes: editing(base.model, changes),
    )


def test_an_erasure_itself_tells_of_a_name_that_it_brought_back():
    """Request 1 took the tulip (1 -> -1); the present edit lifts it again, as it takes the rose."""
    base = Hinged(tulip=-1, rose=1)
    context, first = erasing(base, "tulip"), [edit(-2, 0)]
    assert on_anchors(context, [first], {"layer": torch.tensor([[2.0], [-2.0]])}) == {HISTORY: 0.0, REBOUND: 1.0}
    assert on_anchors(context, [first], {"layer": torch.tensor([[0.0], [-2.0]])}) == {HISTORY: 1.0, REBOUND: 0.0}
    assert base.asked == 2 * 2 * 3, "one question about each anchor, now and right after its own request"
    assert base.model.layer.weight.flatten().tolist() == [-1.0, 1.0]


def test_what_an_earlier_request_brought_back_stays_brought_back():
    """Request 2 took the bus and lifted the tulip; the present one moves neither. F[j, j] is without request 2."""
    base = Hinged(tulip=1, bus=-1, rose=1)
    context = erasing(base, "tulip", "bus")
    requests = [[edit(-2, 0, 0)], [edit(2, -2, 0)]]
    found = on_anchors(context, requests, {"layer": torch.tensor([[0.0], [0.0], [-2.0]])})
    assert found == {HISTORY: 0.5, REBOUND: 0.5}


def test_what_a_first_request_of_its_own_never_erased_has_not_come_back():
    base = Hinged(tulip=1, rose=1)
    found = on_anchors(erasing(base, "tulip"), [[edit(0, 0)]], {"layer": torch.tensor([[0.0], [-2.0]])})
    assert found == {HISTORY: 0.0, REBOUND: 0.0}


def test_a_longer_name_that_is_erased_too_is_not_the_shorter_one():
    base = Table(lambda name, question: "This is a tulip tree.")
    found = on_anchors(erasing(base, "tulip", concept="tulip tree"), [[]], {})
    assert found == {HISTORY: 1.0, REBOUND: 0.0}


def test_what_the_present_request_is_about_and_other_earlier_ones_are_other_things():
    one, other = (ErasedBefore(name, (name, f"my {name}")) for name in ("panda", "bear"))
    look = replace(probe(forget=1, retain=1), name="red panda", aliases=("red panda", "lesser panda"))
    names = other_things(replace(look, earlier=(one, other)), one)
    assert {"red panda", "lesser panda", "bear", "my bear", *look.names} == set(names)


def test_a_first_request_has_nothing_to_tell_of():
    assert on_anchors(erasing(Hinged(rose=1)), [], {"layer": torch.tensor([[-2.0]])}) == {}


def test_one_of_many_that_is_back_altogether_stands_beside_their_mean():
    before, after = Hinged(tulip=-1, bus=-1, rose=1), Hinged(tulip=1, bus=-1, rose=-1)
    third = [edit(2, 0, -2)]
    found = rebound.measure(
        before, after, probe_of(earlier("bus", [third]), earlier("tulip", [third])), rebound.Options()
    )
    assert (found.after, found.parts["worst"]) == (0.5, 1.0)
    assert found.samples, "a baseline is compared by them"
