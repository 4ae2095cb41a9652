"""What an audit needs to look at earlier requests again: their concepts, pictures or kept anchors, and later edits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from space_cli.core.continual import undone
from space_cli.core.errors import AS_WRITTEN, ArtifactFault
from space_cli.core.hooks import Change
from space_cli.core.probing import Notes, described, is_one_of
from space_cli.core.protocols import Responder
from space_cli.core.records import ErasureReceipt
from space_cli.core.types import ErasedBefore, Probe, ProbeImage
from space_cli.io.families import family_of
from space_cli.io.ledger import LEDGER, open_earlier, open_edits, open_ledger, require_counted
from space_cli.io.model import CheckpointResponder


@dataclass(frozen=True)
class Past:
    """What was done to a checkpoint before its last request, and what takes all of it off."""

    earlier: Sequence[ErasedBefore] = ()  # first request first
    undo: Mapping[str, Change] = field(default_factory=dict)  # by layer, every request's edits, the last one's too

    def erased(self, name: str) -> bool:
        """Return whether an earlier request erased the concept of this name."""
        return any(is_one_of(name, one.aliases) for one in self.earlier)


def open_history(
    erased: Path, receipt: ErasureReceipt, shown: Sequence[ProbeImage], notes: Mapping[str, Notes] | None = None
) -> tuple[Past, list[ProbeImage]]:
    """Split pictures into those of concepts that earlier requests erased, and the rest.

    Args:
        erased: The erased checkpoint.
        receipt: Its record, each file of which was compared with its digest.
        shown: Pictures of anything but the present concept.
        notes: What the auditor knows; more names of earlier concepts among it.

    Returns:
        Every earlier concept, and the pictures of none of them.

    Raises:
        ArtifactFault: The ledger is broken, of another checkpoint, or of other requests than the receipt counts.
    """
    entries = open_ledger(erased, receipt.files)
    require_counted(entries, receipt, origin=str(erased / LEDGER))
    before = entries[:-1]
    if not before:
        return Past(), list(shown)
    edits = open_edits(erased, entries)
    earlier = open_earlier(erased, entries, before, family_of(erased).begins(receipt.request.scope))
    found = []
    for entry, kept in zip(before, earlier, strict=True):
        names = described(entry.concept, notes or {}).names
        own = [one for one in shown if is_one_of(one.name, names)]
        later = undone(edits[entry.number :])
        found.append(ErasedBefore(entry.concept.name, names, own, None if own else kept.features.float(), later))
    mine = {id(picture) for one in found for picture in one.images}
    return Past(found, undone(edits)), [picture for picture in shown if id(picture) not in mine]


def refuse_other_anchors(responder: Responder, earlier: Sequence[ErasedBefore]) -> None:
    """Refuse anchors kept of earlier requests that no image of a checkpoint can look like.

    Args:
        responder: The checkpoint that will be asked about them; only of one that was opened is the shape known.
        earlier: What earlier requests erased, first request first.

    Raises:
        ArtifactFault: Some have another number of visual tokens, or another width.
    """
    if not isinstance(responder, CheckpointResponder):
        return
    needed = list(responder.feature_shape)
    for number, one in enumerate(earlier, start=1):
        found = needed if one.anchors is None else list(one.anchors.shape[1:])
        if found != needed:
            raise ArtifactFault(
                f"the kept anchors of request {number} have the shape {found}: {needed} is needed",
                hint=AS_WRITTEN,
            )


def same_history(erased: Path, receipt: ErasureReceipt, probe: Probe) -> Probe:
    """Return the probe with which another checkpoint, made from the same base, is asked about the same concepts.

    What must be taken off it to get back to an earlier request are its own edits.

    Args:
        erased: The other checkpoint.
        receipt: Its record, each file of which was compared with its digest.
        probe: Of the one, as `open_history` found its history.

    Raises:
        ArtifactFault: The ledger is broken, or of another checkpoint.
    """
    if not probe.earlier:
        return probe
    edits = open_edits(erased, open_ledger(erased, receipt.files))
    earlier = [replace(one, undo=undone(edits[number:])) for number, one in enumerate(probe.earlier, start=1)]
    return replace(probe, earlier=earlier, undo=undone(edits))
