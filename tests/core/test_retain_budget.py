"""What an erasure may cost, and what is said where that cannot be told."""

import pytest
import subjects

from space_cli.core.budget import within_budget
from space_cli.core.protocols import Silent


class Heard(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("sure", [True, False])
def test_a_budget_that_no_name_can_break_is_told_of(sure):
    context = subjects.context()
    context.progress = Heard()
    if not sure:
        context.sure_neighbours = ()  # as where every answer is a long sentence, none of them likelier than not
    layer = context.layers[-1]
    found = within_budget(context, {layer: context.weight(layer) * 0}, "dcsi")
    assert found["neighbours_changed"] == 0
    assert [("no neighbour" in note) for note in context.progress.notes] == ([] if sure else [True])
