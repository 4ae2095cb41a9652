"""Asking about the concepts of earlier requests: is one named now, and was it right after its own request?

The state right after request j is the present checkpoint with the edits of all later requests taken off while it is
asked. That equals the checkpoint of then up to one rounding a request in its dtype, and needs no other folder. What a
later request said by instruction stays said.

Shapes: n = images or anchors, p = visual tokens, v = tower width.
"""

from collections.abc import Iterable, Sequence

import torch

from torch import Tensor

from space_cli.core.asking import ask_each
from space_cli.core.hooks import Change, editing
from space_cli.core.matching import mentions
from space_cli.core.meter import by_layer
from space_cli.core.protocols import Responder
from space_cli.core.types import Edit, ErasedBefore, Probe

BATCH = 32
"""Questions at once, as many as an audit asks elsewhere."""


def undone(requests: Iterable[Sequence[Edit]]) -> dict[str, Change]:
    """Return what takes the edits of some requests off again, one change a layer.

    Example:
        >>> one, two = (Edit("a", torch.eye(2) * size, torch.eye(2)) for size in (1.0, 2.0))
        >>> left, right = undone([[one], [two]])["a"]
        >>> (left @ right).tolist()
        [[-3.0, 0.0], [0.0, -3.0]]
    """
    return {layer: _opposite(edits) for layer, edits in by_layer(list(requests)).items()}


def named_share(
    responder: Responder, one: ErasedBefore, probe: Probe, questions: Sequence[str], *, then: bool = False
) -> float:
    """Return the share of answers that name a concept which an earlier request erased, F[t, j].

    Args:
        responder: The checkpoint as it is.
        one: The concept, with pictures or kept anchors.
        probe: Says which other names there are.
        questions: Put to each picture.
        then: Ask the state right after the concept's own request, F[j, j]: `responder` is then the checkpoint under
            audit, from which later edits are taken.
    """
    if then:
        with editing(responder.model, _on_device(one, responder)):
            answers = _asked(responder, _features(responder, one), questions)
    elif one.images:
        answers = ask_each(responder, [shown.image for shown in one.images], questions)
    else:
        answers = _asked(responder, _features(responder, one), questions)
    return sum(mentions(answer, one.aliases, others=probe.names) for answer in answers) / len(answers)


def _features(responder: Responder, one: ErasedBefore) -> Tensor:
    if one.images:
        return responder.features([shown.image for shown in one.images])
    assert one.anchors is not None, "an earlier concept has pictures or anchors"
    return one.anchors.to(_device(responder))


def _asked(responder: Responder, features: Tensor, questions: Sequence[str]) -> list[str]:
    rows = [(row, question) for row in range(len(features)) for question in questions]
    answers: list[str] = []
    for start in range(0, len(rows), BATCH):
        places, asked = zip(*rows[start : start + BATCH], strict=True)
        answers += responder.answer_features(features[list(places)], asked)
    return answers


def _opposite(edits: Sequence[Edit]) -> Change:
    if any(edit.dense is not None for edit in edits):
        return -torch.stack([edit.delta() for edit in edits]).sum(0)
    left, right = ([getattr(edit, side) for edit in edits] for side in ("left", "right"))
    return -torch.cat(left, dim=1), torch.cat(right)


def _on_device(one: ErasedBefore, responder: Responder) -> dict[str, Change]:
    device = _device(responder)
    return {
        layer: change.to(device) if isinstance(change, Tensor) else (change[0].to(device), change[1].to(device))
        for layer, change in one.undo.items()
    }


def _device(responder: Responder) -> torch.device:
    first = next(responder.model.parameters(), None)
    return torch.device("cpu") if first is None else first.device
