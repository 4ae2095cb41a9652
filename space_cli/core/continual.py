"""Asking about the concepts of earlier requests: is one named now, and was it right after its own request?

The state right after request j is the present checkpoint with the edits of all later requests taken off while it is
asked. That equals the checkpoint of then up to one rounding a request in its dtype, and needs no other folder. What a
later request said by instruction stays said.

Shapes: n = images or anchors, p = visual tokens, v = tower width.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch

from PIL.Image import Image
from torch import Tensor

from space_cli.core.asking import ask_each
from space_cli.core.context import EditContext
from space_cli.core.hooks import Change, editing
from space_cli.core.matching import mentions
from space_cli.core.meter import by_layer
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.types import Edit, ErasedBefore, Probe

HISTORY, REBOUND = "history_on_anchors", "rebound_on_anchors"
"""Signals of a later request's receipt."""


def undone(requests: Iterable[Sequence[Edit]]) -> dict[str, Change]:
    """Return what takes the edits of some requests off again, one change a layer.

    Example:
        >>> one, two = (Edit("a", torch.eye(2) * size, torch.eye(2)) for size in (1.0, 2.0))
        >>> left, right = undone([[one], [two]])["a"]
        >>> (left @ right).tolist()
        [[-3.0, 0.0], [0.0, -3.0]]
    """
    return {layer: _opposite(edits) for layer, edits in by_layer(list(requests)).items()}


def other_things(probe: Probe, one: ErasedBefore) -> list[str]:
    """Return the names of all that an earlier concept is not, the present and other earlier ones among them."""
    return [
        *probe.names,
        *probe.aliases,
        *(name for other in probe.earlier if other is not one for name in other.aliases),
    ]


def named_share(
    responder: Responder, one: ErasedBefore, others: Sequence[str], questions: Sequence[str], *, then: bool = False
) -> float:
    """Return the share of answers that name a concept which an earlier request erased, F[t, j].

    Args:
        responder: The checkpoint as it is.
        one: The concept, with pictures or kept anchors.
        others: Names of other things.
        questions: Put to each picture.
        then: Ask the state right after the concept's own request, F[j, j]: `responder` is then the checkpoint under
            audit, from which later edits are taken.
    """
    if then:
        with editing(responder.model, _on_device(one.undo, responder)):
            answers = _asked(responder, _features(responder, one), questions)
    elif one.images:
        answers = ask_each(responder, [shown.image for shown in one.images], questions)
    else:
        answers = _asked(responder, _features(responder, one), questions)
    return sum(mentions(answer, one.aliases, others=others) for answer in answers) / len(answers)


def asked_at_first(
    responder: Responder, images: Sequence[Image], questions: Sequence[str], undo: Mapping[str, Change]
) -> list[str]:
    """Return the answers that the checkpoint gave before its first request, in the order of `ask_each`.

    Args:
        responder: The checkpoint under audit.
        images: Each is asked every question.
        questions: Put to each image.
        undo: Takes every request's edits off.
    """
    with editing(responder.model, _on_device(undo, responder)):
        return _asked(responder, responder.features(images), questions)


def on_anchors(
    context: EditContext, requests: Sequence[Sequence[Edit]], rounded: Mapping[str, Tensor]
) -> dict[str, float]:
    """Measure on the anchors kept of earlier requests whether these still hold after the present one.

    Each anchor is asked one open question that no erasure trains on: with the new edits, and as the checkpoint was
    right after the anchor's own request. No image is looked at.

    Args:
        context: The present erasure; no edit may be hooked in.
        requests: The edits of every earlier request, the first request's first.
        rounded: The new edits, layer -> dense ΔW [d_out, d_in] as the checkpoint's dtype will hold them.

    Returns:
        Mean over earlier requests of 1 − F[t, j] and of max(0, F[t, j] − F[j, j]); nothing without any.
    """
    if not context.earlier:
        return {}
    now, then = [], []
    changes = {layer: delta.to(context.features.device) for layer, delta in rounded.items()}
    concepts = [context.concept, *(one.concept for one in context.earlier)]
    with context.progress.task("ask about earlier requests", len(context.earlier)) as advance:
        for number, one in enumerate(context.earlier, start=1):
            others = [name for concept in concepts if concept != one.concept for name in concept.names]
            undo = undone(requests[number:])
            asked = ErasedBefore(one.concept.name, one.concept.names, anchors=one.features, undo=undo)
            with context.edited(changes):
                now.append(named_share(context.responder, asked, others, AUDIT_OPEN[:1]))
            then.append(named_share(context.responder, asked, others, AUDIT_OPEN[:1], then=True))
            advance()
    risen = [max(0.0, share - first) for share, first in zip(now, then, strict=True)]
    return {HISTORY: 1 - sum(now) / len(now), REBOUND: sum(risen) / len(risen)}


def _features(responder: Responder, one: ErasedBefore) -> Tensor:
    if one.images:
        return responder.features([shown.image for shown in one.images])
    assert one.anchors is not None, "an earlier concept has pictures or anchors"
    return one.anchors.to(_device(responder))


def _asked(responder: Responder, features: Tensor, questions: Sequence[str]) -> list[str]:
    about = [row for row in range(len(features)) for _ in questions]
    return responder.answer_features(features, list(questions) * len(features), about=about)


def _opposite(edits: Sequence[Edit]) -> Change:
    if any(edit.dense is not None for edit in edits):
        return -torch.stack([edit.delta() for edit in edits]).sum(0)
    left, right = ([getattr(edit, side) for edit in edits] for side in ("left", "right"))
    return -torch.cat(left, dim=1), torch.cat(right)


def _on_device(undo: Mapping[str, Change], responder: Responder) -> dict[str, Change]:
    device = _device(responder)
    return {
        layer: change.to(device) if isinstance(change, Tensor) else (change[0].to(device), change[1].to(device))
        for layer, change in undo.items()
    }


def _device(responder: Responder) -> torch.device:
    first = next(responder.model.parameters(), None)
    return torch.device("cpu") if first is None else first.device
