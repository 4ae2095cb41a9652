"""What somebody sees while the directions of wide layers are worked out."""

from contextlib import contextmanager

import subjects
import torch

from space_cli.core.protocols import Silent
from space_cli.core.subspace import Subspace


class Bars(Silent):
    """A `Progress` that counts how far each bar came."""

    def __init__(self):
        self.told = []

    @contextmanager
    def task(self, label, total=None):
        done = []
        yield lambda steps=1, **figures: done.append(steps)
        self.told.append((label, total, sum(done)))


def test_each_layer_is_told_when_its_directions_are_chosen():
    layers = subjects.bundled().family.layers("connector")
    context = subjects.context(layers=layers)
    context.progress = bars = Bars()
    context._moments = {layer: torch.eye(context.weight(layer).shape[1], dtype=torch.float64) for layer in layers}
    subspace = Subspace(context, context._moments, leak=0.1, rank=2)
    subspace.widen()
    assert bars.told == [("safe directions", 2, 2)] * 2
    assert all(len(right) == 4 for right in subspace.right.values())
