"""`space/edits.safetensors`: every weight change of an erasure, enough to check it and to take it back."""

from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from torch import Tensor

from space_cli.core.errors import AS_WRITTEN, ArtifactFault
from space_cli.core.records import ErasureReceipt
from space_cli.core.types import Edit
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.shards import read_header, read_tensor, save_tensors

EDITS = "space/edits.safetensors"
PARTS = ({"left", "right"}, {"dense"})


def write_edits(path: Path, edits: Sequence[Edit]) -> None:
    """Write edits as tensors named `<layer>.left`, `<layer>.right` or `<layer>.dense`, float32.

    Args:
        path: The file; its folder is made if absent.
        edits: At most one per layer.
    """
    assert len({edit.layer for edit in edits}) == len(edits), "a layer has one edit"
    tensors: dict[str, Tensor] = {}
    for edit in edits:
        parts = {"left": edit.left, "right": edit.right, "dense": edit.dense}
        given = {part: tensor for part, tensor in parts.items() if tensor is not None}
        assert set(given) in PARTS, f"the edit of {edit.layer} has factors or a dense delta, not both"
        # A copy each: two edits may share one basis, and safetensors refuses shared memory.
        tensors.update({f"{edit.layer}.{part}": _plain(tensor) for part, tensor in given.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(tensors, path)


def read_edits(path: Path, shapes: Collection[tuple[int, ...]] | None = None) -> list[Edit]:
    """Read edits, sorted by layer.

    Args:
        path: The file.
        shapes: Of the parameters they may change. Two thin factors of a small file have a product of any size, which
            no memory holds. None lets every shape pass.

    Raises:
        ArtifactFault: The file is missing, corrupt, or holds something that is no edit of such a parameter.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for key in sorted(read_header(path)):
        layer, _, part = key.rpartition(".")
        layers.setdefault(layer, {})[part] = read_tensor(path, key)
    edits = [_edit(path, layer, parts) for layer, parts in sorted(layers.items())]
    for edit in edits:
        if edit.left is None or edit.right is None or shapes is None:
            continue  # what is dense is as large as the file says
        product = (edit.left.shape[0], edit.right.shape[1])
        if product not in shapes:
            raise ArtifactFault(
                f"`{path}` changes `{edit.layer}` by {list(product)}: no parameter has that shape", hint=AS_WRITTEN
            )
    return edits


def recorded_edits(folder: Path, receipt: ErasureReceipt) -> dict[str, Edit]:
    """Return the edits of an erased folder by the parameter each of them changed.

    Raises:
        ArtifactFault: The edits cannot be read, or are not of the layers the receipt names.
    """
    parameters = {entry.layer: entry.parameter for entry in receipt.layers}
    edits = read_edits(folder / EDITS, {info.shape for info in open_checkpoint(folder).parameters.values()})
    strange = sorted({edit.layer for edit in edits} ^ set(parameters))
    if strange:
        raise ArtifactFault(
            f"`{folder / EDITS}` and the receipt do not name the same layers: {', '.join(strange)}", hint=AS_WRITTEN
        )
    return {parameters[edit.layer]: edit for edit in edits}


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


def _edit(path: Path, layer: str, parts: dict[str, Tensor]) -> Edit:
    fits = bool(layer) and set(parts) in PARTS
    fits = fits and all(tensor.ndim == 2 and tensor.dtype == torch.float32 for tensor in parts.values())
    if not fits or ("left" in parts and parts["left"].shape[1] != parts["right"].shape[0]):
        shapes = {part: list(tensor.shape) for part, tensor in sorted(parts.items())}
        raise ArtifactFault(f"`{path}` holds no edit of the layer `{layer}`: {shapes}", hint=AS_WRITTEN)
    return Edit(layer, parts.get("left"), parts.get("right"), parts.get("dense"))
