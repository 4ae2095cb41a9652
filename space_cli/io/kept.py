"""The anchors that a checkpoint keeps of a request, for later requests and audits."""

import re

from pathlib import Path

import torch

from torch import Tensor

from space_cli.core.errors import AS_WRITTEN, ArtifactFault
from space_cli.io.shards import read_header, read_tensor, save_tensors

KEPT = "space/anchors.safetensors"
FEATURES = "features"
KEPT_AS = re.compile(rf"{FEATURES}(_\d+)?")
"""Names of the tensor in it: with a number, of what enters that block of the tower."""


def write_kept(folder: Path, features: Tensor, begins: int | None = None) -> None:
    """Write the anchors that later requests and audits look at, in float16.

    Args:
        folder: The erased checkpoint.
        features: [n, p, v].
        begins: The tower's block that they enter; None where they are what the connector reads.
    """
    path = folder / KEPT
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new file in its place: the old one may be a second name of another checkpoint's.
    path.unlink(missing_ok=True)
    save_tensors({_kept_as(begins): features.detach().to("cpu", torch.float16).contiguous()}, path)


def read_kept(path: Path, begins: int | None) -> Tensor:
    """Read the anchors kept of a request, [n, p, v] float16.

    Args:
        path: The file.
        begins: The place where they are to be shown, as for `write_kept`.

    Raises:
        ArtifactFault: It holds no anchors, or anchors of another place.
    """
    return read_tensor(path, require_kept(path, begins))


def require_kept(path: Path, begins: int | None) -> str:
    """Return the name of the anchors that a file holds of such a place; only its header is read.

    Raises:
        ArtifactFault: As `read_kept`.
    """
    name, header = _kept_as(begins), read_header(path)
    shapes = [info.shape for key, info in header.items() if KEPT_AS.fullmatch(key)]
    if len(header) != 1 or not any(len(shape) == 3 and all(shape) for shape in shapes):
        raise ArtifactFault(f"`{path}` holds no anchors", hint=AS_WRITTEN)
    if name not in header:
        raise ArtifactFault(
            f"`{path}` holds anchors of another scope: `vision` keeps them inside the tower, all others behind it",
            hint="erase every concept of a checkpoint with `--scope vision`, or none of them",
        )
    return name


def _kept_as(begins: int | None) -> str:
    return FEATURES if begins is None else f"{FEATURES}_{begins}"
