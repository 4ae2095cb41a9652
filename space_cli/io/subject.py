"""One erasure's subject: a loaded checkpoint with its anchors' features and its own answers about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from PIL.Image import Image
from torch import Tensor

from space_cli.core.context import UNLIMITED, Budget, EditContext, Saved
from space_cli.core.earlier import Earlier
from space_cli.core.errors import AS_WRITTEN, ArtifactFault, UsageFault
from space_cli.core.hooks import Change, editing
from space_cli.core.knowledge import gather
from space_cli.core.protocols import Progress
from space_cli.core.recipe import Concept, Scope
from space_cli.core.types import ROLES, Anchor, Role
from space_cli.io.images import load_items, readable_images
from space_cli.io.model import CheckpointResponder, open_model

BLOCK = 64


@dataclass(frozen=True)
class Aim:
    """What is to be forgotten, where, and how far the weights may move."""

    concept: Concept
    scope: Scope
    seed: int
    max_change: float
    images: Sequence[Image] = ()  # of the concept itself, for methods that train on them
    budget: Budget = UNLIMITED
    earlier: Sequence[Earlier] = ()  # what earlier requests erased from the checkpoint
    undo: Mapping[str, Change] = field(default_factory=dict)  # takes their edits off


def open_subject(
    folder: Path,
    anchors: Sequence[Anchor],
    aim: Aim,
    *,
    device: str,
    progress: Progress,
    record: Callable[[dict[str, float]], None] = lambda row: None,
    save: Callable[[Saved], None] = lambda state: None,
    saved: Saved | None = None,
) -> EditContext:
    """Load a checkpoint and ask it about every anchor.

    Raises:
        ArtifactFault: The checkpoint or a pool image cannot be read.
        UsageFault: No anchor is there to forget with.
    """
    progress.note("loading the checkpoint")
    return subject_of(
        open_model(folder, device=device),
        anchors,
        aim,
        progress=progress,
        record=record,
        save=save,
        saved=saved,
    )


def subject_of(
    responder: CheckpointResponder,
    anchors: Sequence[Anchor],
    aim: Aim,
    *,
    progress: Progress,
    record: Callable[[dict[str, float]], None] = lambda row: None,
    save: Callable[[Saved], None] = lambda state: None,
    saved: Saved | None = None,
) -> EditContext:
    """Do the same for a checkpoint that is loaded already."""
    ordered = [anchor for role in ROLES for anchor in anchors if anchor.role == role]
    if not any(anchor.role == "forget" for anchor in ordered):
        raise UsageFault("there is no anchor to forget with", hint="run `space select` again")
    responder = responder.upstream(aim.scope)
    features = image_features(responder, ordered, progress)
    earlier = _fitting(aim.earlier, features)
    progress.note("asking the checkpoint what it knows")
    undo = {layer: _placed(change, responder) for layer, change in aim.undo.items()}
    knowledge = gather(
        responder, features, aim.concept, aim.seed, earlier, original=lambda: editing(responder.model, undo)
    )
    return EditContext(
        responder=responder,
        concept=aim.concept,
        layers=responder.family.layers(aim.scope),
        features=torch.cat([features, *(one.features for one in earlier)]) if earlier else features,
        rows=_spans(ordered),
        knowledge=knowledge,
        seed=aim.seed,
        max_change=aim.max_change,
        progress=progress,
        record=record,
        save=save,
        saved=saved,
        budget=aim.budget,
        forget=responder.features(aim.images) if aim.images else None,
        undo=undo,
        earlier=tuple(earlier),
    )


def concept_images(folder: str | None, progress: Progress) -> list[Image]:
    """Read the images of the concept where some are given; those that cannot be read are named and left out.

    Raises:
        UsageFault: The folder is missing, or none of its images can be read.
    """
    if folder is None:
        return []
    images, faults = readable_images(Path(folder))
    for fault in faults:
        progress.note(fault)
    return images


def image_features(responder: CheckpointResponder, anchors: Sequence[Anchor], progress: Progress) -> Tensor:
    """Return the visual features [n, p, v] of pool images, in order."""
    blocks = []
    with progress.task("read anchors", len(anchors)) as advance:
        for start in range(0, len(anchors), BLOCK):
            items = [anchor.item for anchor in anchors[start : start + BLOCK]]
            blocks.append(responder.features(load_items(items)))
            advance(len(items))
    return torch.cat(blocks)


def _placed(change: Change, responder: CheckpointResponder) -> Change:
    """Return a change where the weights are, in their dtype."""
    place = next(responder.model.parameters())
    return change.to(place) if isinstance(change, Tensor) else (change[0].to(place), change[1].to(place))


def _fitting(earlier: Sequence[Earlier], features: Tensor) -> list[Earlier]:
    """Return earlier anchors as this tower's features are: device, dtype, shape."""
    for one in earlier:
        if one.features.shape[1:] != features.shape[1:]:
            found, needed = list(one.features.shape[1:]), list(features.shape[1:])
            raise ArtifactFault(
                f"the kept anchors of `{one.concept.name}` have the shape {found}: {needed} is needed", hint=AS_WRITTEN
            )
    return [Earlier(one.concept, one.features.to(features)) for one in earlier]


def _spans(ordered: Sequence[Anchor]) -> dict[Role, range]:
    spans: dict[Role, range] = {}
    start = 0
    for role in ROLES:
        count = sum(anchor.role == role for anchor in ordered)
        spans[role] = range(start, start + count)
        start += count
    return spans
