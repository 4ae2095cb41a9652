"""Which two erased checkpoints may stand side by side: same base, same concept, and images that are new to both."""

from pathlib import Path

from space_cli.core.errors import ArtifactFault
from space_cli.core.overlap import unseen_gate
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.records import ErasureReceipt
from space_cli.core.types import Probe
from space_cli.io.artifact import open_artifact
from space_cli.io.probe import open_material

IMAGES = "baseline_images"
"""Among what was not measured: whether the images are new to the baseline, where it was trained on any."""


def open_baseline(
    folder: Path, receipt: ErasureReceipt, *, pseudonym: Pseudonym | None = None, verify: bool = True
) -> ErasureReceipt:
    """Open another erased checkpoint that is to be measured beside one.

    Args:
        folder: The other erased folder.
        receipt: Of the checkpoint under audit.
        pseudonym: Of its concept, for another folder that names no more than that.
        verify: Compare every file with its digest, and refuse files that were added.

    Raises:
        ArtifactFault: It is missing or altered, was made from another base, or has another concept erased.
    """
    other = open_artifact(folder, "erased", verify=verify, alone=verify)
    assert isinstance(other, ErasureReceipt), "the kind was checked"
    own, found = receipt.request.concept.name, other.request.concept.name
    if other.pseudonymized and pseudonym:
        own = pseudonym.text
    if own.casefold() != found.casefold():
        raise ArtifactFault(
            f"the baseline `{folder}` has `{found}` erased: `{own}` is needed",
            hint="compare two erasures of one concept",
        )
    ours, theirs = ({entry.path: entry.sha256 for entry in one.base_files} for one in (receipt, other))
    differing = sorted(path for path in {*ours, *theirs} if ours.get(path) != theirs.get(path))
    if differing:
        raise ArtifactFault(
            f"the baseline `{folder}` was made from another base: `{differing[0]}` differs",
            hint="compare two erasures of one checkpoint",
        )
    return other


def unknown_images(baseline: ErasureReceipt, probe: Probe) -> dict[str, str]:
    """Refuse images that a baseline was trained on, and say so where that cannot be found out; no rule reads it.

    Raises:
        UsageFault: It was trained on one of them.
    """
    if not probe.forget or baseline.request.forget_images is None:
        return {}
    material = open_material(baseline, seed=probe.seed)
    gate = unseen_gate(probe.forget, material.used, material.unused, eraser="the baseline's `erase`")
    return {} if gate.verdict == "pass" else {IMAGES: gate.reason}
