"""LLaVA-1.5: a CLIP or SigLIP tower, a two-layer connector, a Llama-like decoder.

References:
    Improved Baselines with Visual Instruction Tuning (Liu et al., 2023), arXiv:2310.03744
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from space_cli.core.family import Family

TRACED_BLOCKS, TRACED_DEPTH = (7, 8, 9, 10, 13, 14, 15, 18), 32
DEEP = 16
"""Blocks from which on a decoder is edited in the traced places only."""
CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Tokens that a tower gives out before those of the patches, by its `model_type`."""
TOWER_SHARE, TOWER_MOST = 3, 8
"""Of the tower's blocks that are read, the last third may be edited, and never more than so many."""
TOWER_DEPTH = 12
"""Blocks of a tower whose config names no number: transformers' own default for both kinds."""
DEEPEST = 1_000
"""No decoder is near it: the name of every layer is spelt out, and a config may ask for any number of them."""


def family(config: dict[str, Any]) -> Family:
    """Describe a LLaVA checkpoint from its `config.json`.

    Raises:
        ValueError: Its tower is of another kind, it reads a layer that the tower does not have, or several, or its
            decoder has more layers than any.
    """
    vision, text = config["vision_config"], config["text_config"]
    kind = vision.get("model_type", "clip_vision_model")
    if kind not in CLASS_TOKENS:
        raise ValueError(f"its tower is a `{kind}`: known are {', '.join(CLASS_TOKENS)}")
    whole = config.get("vision_feature_select_strategy", "default") == "full"
    patches = (vision.get("image_size", 336) // vision.get("patch_size", 14)) ** 2
    # A config that says nothing means transformers' own default: LlamaConfig has 32 layers.
    depth = text.get("num_hidden_layers", 32)
    if depth > DEEPEST:
        raise ValueError(f"its decoder of {depth:,} layers is deeper than the {DEEPEST:,} that are read")
    seen, blocks = config.get("vision_feature_layer", -2), vision.get("num_hidden_layers")
    if not isinstance(seen, int):
        raise ValueError(f"its `vision_feature_layer` is {seen}: one layer is needed")
    if blocks is not None and not -blocks - 1 <= seen <= blocks:
        raise ValueError(f"its tower of {blocks} layers has no `vision_feature_layer` {seen}")
    begins, read = _upper_blocks(seen, TOWER_DEPTH if blocks is None else blocks)
    return Family(
        model_type="llava",
        tower="model.vision_tower",
        connector="model.multi_modal_projector",
        language_model="model.language_model",
        connector_layers=("model.multi_modal_projector.linear_1", "model.multi_modal_projector.linear_2"),
        mlp_layers=_mlps(_identity_blocks(depth)),
        every_mlp_layer=_mlps(range(depth)),
        tower_layers=tuple(
            f"model.vision_tower.encoder.layers.{num}.mlp.{part}"
            for num in range(begins, read)
            for part in ("fc1", "fc2")
        ),
        tower_begins=begins,
        disk_prefixes=(
            ("model.language_model.", "language_model.model."),
            ("model.multi_modal_projector.", "multi_modal_projector."),
            ("model.vision_tower.", "vision_tower.vision_model."),
            ("model.vision_tower.", "vision_tower."),
            ("model.", "model."),
        ),
        image_token=config.get("image_token_index", config.get("image_token_id", 32000)),
        visual_tokens=patches + CLASS_TOKENS[kind] - int(not whole),
        tower_tokens=patches + CLASS_TOKENS[kind],
        encoder="openai/clip-vit-large-patch14-336",
        features=_features,
        lower=_lower,
        upper=_upper,
    )


def _mlps(blocks: Iterable[int]) -> tuple[str, ...]:
    parts = ("gate_proj", "up_proj", "down_proj")
    return tuple(f"model.language_model.layers.{num}.mlp.{part}" for num in blocks for part in parts)


def _identity_blocks(depth: int) -> Sequence[int]:
    """Return the blocks that turn what is seen into who or what it is; of a shallow decoder, every one.

    Causal tracing found these blocks of LLaVA-1.5-7B; another depth gets the same relative places. Fewer layers also
    bound the memory of their moments: 11,008 wide, one takes a gigabyte.
    """
    if depth < DEEP:
        return range(depth)
    return sorted({round(num * depth / TRACED_DEPTH) for num in TRACED_BLOCKS})


def _upper_blocks(seen: int, blocks: int) -> tuple[int, int]:
    """Return which of a tower's blocks may be edited, as a range: the last of those in front of the layer that is read.

    The blocks behind it change nothing that anybody sees.
    """
    read = seen if seen >= 0 else blocks + 1 + seen
    return read - min(TOWER_MOST, -(-read // TOWER_SHARE)), read


def _features(model: nn.Module, pixels: Tensor) -> Tensor:
    config: Any = model.config
    return _chosen(model, _lower(model, pixels, config.vision_feature_layer))


def _lower(model: nn.Module, pixels: Tensor, block: int) -> Tensor:
    """Return what enters a block of the tower, every token of it."""
    seen = model.get_submodule("model.vision_tower")(pixels, output_hidden_states=True)
    states: Tensor = seen.hidden_states[block]
    return states


def _upper(model: nn.Module, states: Tensor, block: int) -> Tensor:
    """Return what the connector reads where these states enter a block of the tower."""
    config: Any = model.config
    blocks: Any = model.get_submodule("model.vision_tower.encoder.layers")
    _, read = _upper_blocks(config.vision_feature_layer, len(blocks))
    for one in blocks[block:read]:
        states = one(states, None)
    return _chosen(model, states)


def _chosen(model: nn.Module, states: Tensor) -> Tensor:
    """Drop the first token unless the checkpoint keeps all."""
    config: Any = model.config
    return states if config.vision_feature_select_strategy == "full" else states[:, 1:]
