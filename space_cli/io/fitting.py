"""That a config asks for no more than its folder holds: before a model of it is built, or an image is resized by it."""

import math

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel
from transformers.initialization import no_init_weights

from space_cli.core.errors import REFETCH, ArtifactFault
from space_cli.io.checkpoint import Checkpoint
from space_cli.io.loading import OWN_FILES, UNLOADABLE, load_fault
from space_cli.io.weights import numbers

PACKED = 8
"""Weights that an element of a quantised tensor holds at most."""
ENLARGED = 4
"""An image is resized to at most this many sides of what the tower reads, before the rest is cut off."""
SHOWN = 3
"""Missing parameters that an error names; the rest are counted."""


def described(folder: Path) -> PreTrainedModel:
    """Return the model of images and text that a folder's config describes, for `refuse_larger` to build."""
    return AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder, **OWN_FILES))


def refuse_larger(checkpoint: Checkpoint, build: Callable[[], nn.Module]) -> None:
    """Refuse a config that describes a model which the shards cannot fill: transformers would draw the rest at random.

    Args:
        checkpoint: What is about to be loaded.
        build: Makes the model of its config; no memory is taken for its weights.

    Raises:
        ArtifactFault: It does, or no model can be made of it.
    """
    try:
        with torch.device("meta"), no_init_weights():
            model = build()
    except UNLOADABLE as failure:
        raise load_fault(checkpoint.folder, failure) from failure
    tied = set(getattr(model, "all_tied_weights_keys", ()))
    wanted = sum(weight.numel() for name, weight in model.named_parameters() if name not in tied)
    held = sum(math.prod(info.shape) for info in checkpoint.parameters.values())
    if wanted > PACKED * held:
        raise ArtifactFault(
            f"`{checkpoint.folder / 'config.json'}` describes a model of {wanted:,} weights: the shards hold {held:,}",
            hint=REFETCH,
        )


def refuse_missing(folder: Path, names: Collection[str]) -> None:
    """Refuse a checkpoint that lacks parameters: transformers draws them at random, and goes on.

    Args:
        folder: The checkpoint.
        names: What was not found in it.

    Raises:
        ArtifactFault: There is any.
    """
    if names:
        shown = ", ".join(f"`{name}`" for name in sorted(names)[:SHOWN])
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise ArtifactFault(f"`{folder}` lacks the parameters {shown}{more}", hint=REFETCH)


def refuse_large_pictures(folder: Path, preparation: Mapping[str, Any], side: int) -> None:
    """Refuse rules of an image processor that would make an image far larger than the tower reads it.

    Args:
        folder: The checkpoint.
        preparation: The processor as a dictionary.
        side: Pixels of the square that the tower reads.

    Raises:
        ArtifactFault: One would.
    """
    for key, value in numbers({name: rule for name, rule in preparation.items() if name.endswith("size")}):
        if value > ENLARGED * side:
            raise ArtifactFault(
                f"the image processor of `{folder}` asks for {value:,} pixels as its `{key}`: the tower reads {side}",
                hint=REFETCH,
            )
