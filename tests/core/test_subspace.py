"""What somebody sees while the directions of wide layers are worked out."""

import subjects
import torch

from heard import Heard

from space_cli.core.subspace import Subspace


def test_each_layer_is_told_when_its_directions_are_chosen():
    layers = subjects.bundled().family.layers("connector")
    context = subjects.context(layers=layers)
    context.progress = heard = Heard()
    context._moments = {layer: torch.eye(context.weight(layer).shape[1], dtype=torch.float64) for layer in layers}
    subspace = Subspace(context, context._moments, leak=0.1, rank=2)
    subspace.widen()
    assert heard.bars == [("safe directions", 2, 2)] * 2
    assert all(len(right) == 4 for right in subspace.right.values())
