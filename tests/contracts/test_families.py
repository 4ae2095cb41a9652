"""Each family must point at the same numbers in memory and on disk."""

from typing import get_args

import pytest
import torch

from safetensors import safe_open
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SiglipVisionConfig,
)

from space_cli.core import registry
from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.recipe import Scope


def tiny_llava(tower=CLIPVisionConfig, **more):
    torch.manual_seed(0)
    vision = tower(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
    )
    text = LlamaConfig(
        vocab_size=40, hidden_size=24, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=3, image_seq_length=4, **more)
    )


MODELS = {"llava": tiny_llava}


def test_every_family_has_a_tiny_model():
    assert set(MODELS) == set(registry.names("families"))


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("scope", get_args(Scope))
def test_names_in_memory_and_on_disk_are_one_weight(name, scope, tmp_path):
    model = MODELS[name]()
    model.save_pretrained(tmp_path)
    family = registry.load("families", name).family(model.config.to_dict())
    with safe_open(tmp_path / "model.safetensors", "pt") as stored:
        keys = list(stored.keys())
        layers = family.layers(scope)
        assert layers
        for layer in layers:
            parameter = family.parameter(layer, keys)
            assert torch.equal(stored.get_tensor(parameter), model.get_submodule(layer).weight)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_features_have_the_promised_shape(name):
    model = MODELS[name]().eval()
    family = registry.load("families", name).family(model.config.to_dict())
    side = model.config.vision_config.image_size
    features = family.features(model, torch.randn(2, 3, side, side))
    assert features.shape == (2, family.visual_tokens, model.config.vision_config.hidden_size)


@pytest.mark.parametrize("tower", [CLIPVisionConfig, SiglipVisionConfig])
@pytest.mark.parametrize("strategy", ["default", "full"])
@pytest.mark.parametrize("layer", [-1, -2])
def test_features_are_what_transformers_gives_the_connector(tower, strategy, layer):
    model = tiny_llava(tower, vision_feature_select_strategy=strategy, vision_feature_layer=layer).eval()
    family = registry.load("families", "llava").family(model.config.to_dict())
    pixels = torch.randn(2, 3, 8, 8)
    features = family.features(model, pixels)
    assert features.shape[1] == family.visual_tokens
    shown = torch.stack(list(model.get_image_features(pixels).pooler_output))
    torch.testing.assert_close(model.get_submodule(family.connector)(features), shown)


@pytest.mark.parametrize("tower", [CLIPVisionConfig, SiglipVisionConfig])
@pytest.mark.parametrize("strategy", ["default", "full"])
@pytest.mark.parametrize("layer", [-1, -2, 0, 2])
def test_the_lower_part_of_a_tower_and_then_the_upper_one_is_the_whole(tower, strategy, layer):
    model = tiny_llava(tower, vision_feature_select_strategy=strategy, vision_feature_layer=layer).eval()
    family = registry.load("families", "llava").family(model.config.to_dict())
    pixels = torch.randn(2, 3, 8, 8)
    for block in {0, family.tower_begins}:
        lower = family.lower(model, pixels, block)
        assert lower.shape == (2, 5 if tower is CLIPVisionConfig else 4, 16)
        torch.testing.assert_close(family.upper(model, lower, block), family.features(model, pixels))


@pytest.mark.parametrize(
    ("blocks", "layer", "edited"),
    [(24, -2, range(15, 23)), (12, -1, range(8, 12)), (6, -2, range(3, 5)), (2, 1, range(1)), (None, -2, range(7, 11))],
)
def test_the_last_blocks_that_are_read_may_be_edited_and_none_behind_them(blocks, layer, edited):
    config = tiny_llava(vision_feature_layer=layer if layer > 0 else -2).config.to_dict()
    config["vision_config"] |= {"num_hidden_layers": blocks}
    if blocks is None:
        del config["vision_config"]["num_hidden_layers"]
    family = registry.load("families", "llava").family(config | {"vision_feature_layer": layer})
    names = [f"model.vision_tower.encoder.layers.{num}.mlp.{part}" for num in edited for part in ("fc1", "fc2")]
    assert family.layers("vision") == (*names, family.connector_layers[-1])
    assert family.begins("mlp", "vision") == edited[0]
    assert family.begins("mlp", "all") is None


def test_a_tower_of_which_no_block_is_read_has_nothing_to_edit():
    config = tiny_llava(vision_feature_layer=0).config.to_dict()
    family = registry.load("families", "llava").family(config)
    with pytest.raises(UsageFault, match="reads no block of its vision tower: the scope `vision`") as fault:
        family.layers("vision")
    assert fault.value.exit_code == 2
    assert fault.value.hint
    assert family.layers("all")


def test_a_tower_that_is_read_otherwise_is_named():
    config = tiny_llava().config.to_dict()
    config["vision_config"]["model_type"] = "pixtral"
    with pytest.raises(ValueError, match="its tower is a `pixtral`: known are clip_vision_model, siglip_vision_model"):
        registry.load("families", "llava").family(config)


def test_an_unknown_key_layout_is_refused():
    family = registry.load("families", "llava").family(tiny_llava().config.to_dict())
    with pytest.raises(ArtifactFault, match="key layout"):
        family.parameter(family.mlp_layers[0], ["something.else.weight"])


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(4, [0, 1, 2, 3]), (32, [7, 8, 9, 10, 13, 14, 15, 18]), (40, [9, 10, 11, 12, 16, 18, 19, 22])],
)
def test_a_deep_decoder_is_edited_where_identity_is_looked_up(depth, blocks):
    config = tiny_llava().config.to_dict()
    config["text_config"]["num_hidden_layers"] = depth
    family = registry.load("families", "llava").family(config)
    parts = [layer.rsplit(".", 3) for layer in family.layers("mlp")[1:]]
    assert sorted({int(part[1]) for part in parts}) == blocks
    assert {part[3] for part in parts} == {"gate_proj", "up_proj", "down_proj"}
    assert family.layers("blocks") == family.layers("mlp")[1:]
    assert len(family.layers("all")) == 2 + 3 * depth
