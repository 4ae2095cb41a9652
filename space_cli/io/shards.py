"""Single safetensors shards: what a header says, one tensor, and a copy with some tensors changed."""

import errno
import os
import re
import shutil

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from space_cli.core.errors import AS_WRITTEN, READABLE, REFETCH, ArtifactFault, EnvironmentFault, is_out_of_memory

EDITABLE = (torch.float16, torch.bfloat16, torch.float32)
# More than one key is written in an order that changes from run to run.
HEADER = {"format": "pt"}
# A file system without links, another device, too many links, or a file that belongs to somebody else.
UNLINKABLE = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}

Delta = Callable[[], Tensor]
"""Computes ΔW when it is needed, so that no two dense deltas are alive at once."""
Change = Delta | Tensor
"""What becomes of a parameter: ΔW, or W + ΔW where `add_delta` made it before."""


@dataclass(frozen=True)
class ParameterInfo:
    """What a shard's header says about one parameter."""

    shape: tuple[int, ...]
    dtype: str  # as the header spells it: "F16", "BF16", "F32", …
    file: str  # shard, relative to the checkpoint's folder


def read_header(path: Path) -> dict[str, ParameterInfo]:
    """Read the names, shapes and dtypes of a shard without reading a weight.

    Raises:
        ArtifactFault: It is missing, no safetensors file, or shorter or longer than its header promises.
        EnvironmentFault: It may not be read.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ArtifactFault(f"the shard `{path}` is no file", hint=REFETCH)
    try:
        with safe_open(path, framework="pt") as shard:
            names = list(shard.keys())
            slices = [shard.get_slice(name) for name in names]
    except FileNotFoundError:
        raise ArtifactFault(f"the shard `{path}` is missing", hint=REFETCH) from None
    except PermissionError as failure:
        raise EnvironmentFault(f"`{path}` may not be read", hint=READABLE) from failure
    except SafetensorError as failure:
        raise ArtifactFault(
            f"the shard `{path}` is corrupt or truncated: {failure}",
            hint=REFETCH,
        ) from failure
    return {
        name: ParameterInfo(tuple(found.get_shape()), found.get_dtype(), path.name)
        for name, found in zip(names, slices, strict=True)
    }


def read_tensor(path: Path, name: str) -> Tensor:
    """Return one tensor of a shard, on the CPU and in its stored dtype.

    Raises:
        ArtifactFault: The shard is gone or damaged, or has no such tensor.
    """
    try:
        with safe_open(path, framework="pt") as shard:
            tensor: Tensor = shard.get_tensor(name)
    except (FileNotFoundError, SafetensorError) as failure:
        if is_out_of_memory(failure):
            raise
        raise ArtifactFault(
            f"`{path}` has no readable tensor `{name}`: {failure}",
            hint="copy the folder again, or run the stage that wrote it",
        ) from failure
    return tensor


def add_delta(name: str, weight: Tensor, delta: Tensor) -> Tensor:
    """Return `W + ΔW`, computed in float32 and rounded once to the dtype of `W`.

    Args:
        name: The parameter, for messages.
        weight: `W` as stored.
        delta: `ΔW`, of the same shape.

    Raises:
        ArtifactFault: Another shape, a dtype that holds no plain weights, or a result that is not finite.
    """
    if delta.shape != weight.shape:
        raise ArtifactFault(
            f"`{name}` has the shape {list(weight.shape)}: its edit has {list(delta.shape)}",
            hint=f"{AS_WRITTEN}, or mend the method that made the edit",
        )
    if weight.dtype not in EDITABLE:
        raise ArtifactFault(
            f"`{name}` is stored as {weight.dtype}: float16, bfloat16 or float32 is needed",
            hint="erase from the checkpoint as it was before quantisation",
        )
    result = (weight.float() + delta.detach().to("cpu", torch.float32)).to(weight.dtype)
    if not torch.isfinite(result).all():
        raise ArtifactFault(
            f"the edit of `{name}` is not finite in {weight.dtype}: nothing was written",
            hint="lower `--set lr=…`, or choose another `--method`",
        )
    return result


def rewrite_shard(source: Path, target: Path, changes: Mapping[str, Change]) -> None:
    """Write a copy of a shard with some parameters changed.

    Untouched tensors are mapped from `source` rather than held, so at most one shard is in memory.

    Raises:
        ArtifactFault: A delta does not fit its parameter.
        OSError: The disk refuses the write.
    """
    with safe_open(source, framework="pt") as shard:
        tensors = {name: shard.get_tensor(name) for name in shard.keys()}
    for name, change in changes.items():
        tensors[name] = change if isinstance(change, Tensor) else add_delta(name, tensors[name], change())
    save_tensors(tensors, target)


def save_tensors(tensors: dict[str, Tensor], target: Path) -> None:
    """Write one safetensors file whose bytes depend on the tensors alone.

    Raises:
        OSError: The disk refuses the write.
    """
    target.touch()  # safetensors makes its files private; an ordinary file shows which mode is wanted
    mode = target.stat().st_mode
    try:
        save_file(tensors, target, metadata=HEADER)
    except SafetensorError as failure:
        raise _as_os_error(failure, target) from failure
    target.chmod(mode)


def place_copy(source: Path, target: Path, *, link: bool) -> None:
    """Put a file's bytes at `target`: a hard link to the real file where asked and possible, else a copy."""
    real = source.resolve()  # the hub's cache holds symbolic links; a link to a link would dangle elsewhere
    if link:
        try:
            os.link(real, target)
        except OSError as failure:
            if failure.errno not in UNLINKABLE:
                raise
        else:
            return
    shutil.copyfile(real, target)


def _as_os_error(failure: SafetensorError, target: Path) -> OSError:
    # safetensors keeps the operating system's number only in its text.
    number = re.search(r"\(os error (\d+)\)", str(failure))
    return OSError(int(number[1]) if number else errno.EIO, str(failure), str(target))
