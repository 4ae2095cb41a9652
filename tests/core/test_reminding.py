"""Names of earlier requests, asked about on the anchors kept of them."""

import pytest
import subjects
import torch

from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import STYLES, render
from space_cli.core.earlier import Earlier
from space_cli.core.recipe import Concept
from space_cli.core.reminding import Reminders
from space_cli.methods import dcsi


def kept(name):
    """Pictures of the thing itself stand for its kept anchors: the checkpoint names it in both."""
    images = [render(find(name).symbol, STYLES[view % 2], 5_200_000 + view) for view in range(4)]
    return Earlier(Concept(name=name), subjects.bundled().features(images))


def context(*names):
    found = subjects.context(max_change=0.4)
    found.earlier = tuple(kept(name) for name in names)
    return found


def test_a_first_request_has_nothing_to_be_reminded_of():
    assert not Reminders(context())


def test_the_requests_take_turns_and_each_is_named_on_its_own_anchors():
    found = context("bus", "banana")
    reminders = Reminders(found)
    asked, own = [], found.responder.batch

    class Noting:
        """The bundled checkpoint, with a list of what it was asked."""

        def __getattr__(self, name):
            return getattr(subjects.bundled(), name)

        def batch(self, prompts):
            asked.extend(prompts)
            return own(prompts)

    found.responder = Noting()
    named = torch.cat(reminders.named(0, 4))
    assert [("bus" in p.question + p.answer, "banana" in p.question + p.answer) for p in asked] == [
        (True, False),
        (False, True),
    ] * 2
    assert [prompt.image for prompt in asked] == [0, 1, 2, 3]
    assert float(named.mean()) > -1.0, "nothing was erased from this checkpoint: it knows both"
    assert torch.equal(named, torch.cat(reminders.named(0, 4)))
    assert not torch.equal(named, torch.cat(reminders.named(1, 4)))


@pytest.mark.parametrize(("weight", "gone"), [(1.5, True), (0.0, False)])
def test_training_keeps_earlier_names_down(weight, gone):
    found = context("bus")
    short = {"steps": 12, "least": 12, "refresh": 0, "harden_steps": 2, "depths": 0, "batch": 4, "retain_batch": 4}
    options = dcsi.Options(**short, rehearsals=0, repairs=0, lambda_earlier=weight)
    edits = list(dcsi.edits(found, options))
    with found.edited(subjects.factors(edits)):
        answers = found.responder.answer_features(found.earlier[0].features, ["What is this?"] * 4)
    assert any("bus" in answer for answer in answers) is not gone
