"""Whether an auditor's images are those that erasing trained on: an audit of these would show nothing."""

import hashlib

from collections.abc import Sequence

from PIL.Image import Image

from space_cli.core.errors import UsageFault
from space_cli.core.records import GateRecord, Verdict
from space_cli.core.types import ProbeImage

SCORE = "images"
"""In the place of a score's name: the rule is about what was asked, not about an answer."""
RULE = "no image of the concept was given to `erase`"


def unseen_gate(
    own: Sequence[ProbeImage], used: Sequence[Image], unused: str, *, eraser: str = "`erase`"
) -> GateRecord:
    """Return the rule that images of the concept are new to the checkpoint, with what it decides.

    Images are compared by their pixels as they were read, so that another name, format or header hides nothing.

    Args:
        own: The auditor's images of the concept.
        used: What erasing was given with `--forget-images`.
        unused: Why `used` is empty; what cannot be compared is not known to be new.
        eraser: How messages call the erasure.

    Raises:
        UsageFault: Some of the images were given to `erase`.
    """
    if not used:
        return _gate("inconclusive", f"what {eraser} was given cannot be compared: {unused}")
    _refuse_known(own, used, f"were given to {eraser} as --forget-images")
    return _gate("pass", f"none of {len(own)} is among the {len(used)} that {eraser} was given")


def refuse_anchors(own: Sequence[ProbeImage], anchors: Sequence[Image]) -> None:
    """Refuse images of the concept that a source-free erasure trained on, as its pool may have held them.

    Args:
        own: The auditor's images of the concept.
        anchors: What was trained on to forget it; none where that cannot be had.

    Raises:
        UsageFault: One is among them.
    """
    _refuse_known(own, anchors, "are anchors that erasing trained on")


def with_gate(verdict: Verdict, gate: GateRecord) -> Verdict:
    """Return a verdict after one more rule; only a pass can still be lost."""
    return gate.verdict if verdict == "pass" else verdict


def _refuse_known(own: Sequence[ProbeImage], used: Sequence[Image], why: str) -> None:
    known = {picture_digest(image) for image in used}
    again = [one.path for one in own if picture_digest(one.image) in known]
    if again:
        raise UsageFault(
            f"{len(again)} of {len(own)} images of the concept {why}, first `{again[0]}`: an audit on images that were "
            "trained on shows nothing",
            hint="take other images of the concept, or leave out `--images`",
        )


def _gate(verdict: Verdict, reason: str) -> GateRecord:
    return GateRecord(score=SCORE, rule=RULE, verdict=verdict, reason=reason)


def picture_digest(image: Image) -> bytes:
    """Return what copies of a picture have in common, whatever their names, formats and headers."""
    plain = image.convert("RGB")
    return hashlib.sha256(repr(plain.size).encode() + plain.tobytes()).digest()
