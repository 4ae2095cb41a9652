import json

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from PIL import Image
from transformers import AutoImageProcessor

from space_cli.core.errors import ArtifactFault
from space_cli.encoders import clip, siglip
from tests.encoders.tiny_encoders import LIMIT, SIDE, clip_folder, siglip_folder

FOLDERS = {"clip": (clip, clip_folder), "siglip": (siglip, siglip_folder)}


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def loaded(request, tmp_path_factory):
    module, make = FOLDERS[request.param]
    folder = make(tmp_path_factory.mktemp(request.param) / "encoder")
    return module.load(folder, "cpu"), folder


def picture(width, height, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("size", [(80, 60), (45, 97), (SIDE, SIDE), (9, 13), (33, 32)])
def test_pixels_equal_the_image_processors(loaded, size):
    encoder, folder = loaded
    expected = AutoImageProcessor.from_pretrained(folder)(picture(*size), return_tensors="pt")["pixel_values"][0]
    found = encoder.preprocess(picture(*size))
    assert found.shape == (3, encoder.side, encoder.side)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_threads_give_the_same_pixels(loaded):
    encoder, _ = loaded
    pictures = [picture(60 + seed, 50, seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(encoder.preprocess, pictures))
    assert all(torch.equal(one, encoder.preprocess(two)) for one, two in zip(found, pictures, strict=True))


def test_embeddings_are_unit_rows_of_the_stated_width(loaded):
    encoder, _ = loaded
    pixels = torch.stack([encoder.preprocess(picture(40, 50, seed)) for seed in range(3)])
    for found in (encoder.images(pixels), encoder.texts(["a", "cat", "a cat"])):
        assert found.shape == (3, encoder.width)
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(3))


def test_padding_changes_no_text(loaded):
    encoder, _ = loaded
    together = encoder.texts(["cat", "abcdefgh"])
    torch.testing.assert_close(together[:1], encoder.texts(["cat"]), atol=1e-5, rtol=0)
    assert together[0] @ together[1] < 0.9999, "different texts differ"


def test_a_long_text_is_cut_and_keeps_its_end(loaded):
    encoder, _ = loaded
    long = encoder.texts(["a" * 50 * LIMIT, "a" * (LIMIT - 2)])
    torch.testing.assert_close(long[0], long[1], atol=1e-5, rtol=0)


def test_clip_ends_a_text_where_the_tokenizer_does_not(tmp_path):
    plain = clip.load(clip_folder(tmp_path / "plain", ends=False), "cpu")
    ended = clip.load(clip_folder(tmp_path / "ended", ends=True), "cpu")
    for text in ("cat", "a" * 100):
        torch.testing.assert_close(plain.texts([text]), ended.texts([text]))


def test_clip_pools_the_last_position_under_an_old_config(tmp_path):
    folder = clip_folder(tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    encoder = clip.load(folder, "cpu")
    torch.testing.assert_close(encoder.texts(["cat", "zebra"])[:1], encoder.texts(["cat"]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_damage_is_refused(tmp_path, name):
    module, make = FOLDERS[name]
    folder = make(tmp_path / "encoder")
    whole = (folder / "preprocessor_config.json").read_text()
    (folder / "preprocessor_config.json").write_text(whole.replace(f": {SIDE}", ": 48"))
    with pytest.raises(ArtifactFault, match="the tower reads 32 x 32"):
        module.load(folder, "cpu")
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(ArtifactFault, match="cannot be loaded"):
        module.load(folder, "cpu")
    (folder / "preprocessor_config.json").write_text(whole)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(ArtifactFault):
        module.load(folder, "cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactFault):
        module.load(folder, "cpu")


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_missing_parameter_is_refused_rather_than_drawn_at_random(tmp_path, name):
    from safetensors.torch import load_file, save_file

    module, make = FOLDERS[name]
    folder = make(tmp_path / "encoder")
    tensors = load_file(folder / "model.safetensors")
    del tensors["vision_model.post_layernorm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactFault, match="post_layernorm"):
        module.load(folder, "cpu")


def test_siglip_needs_a_pad_token(tmp_path):
    folder = siglip_folder(tmp_path / "encoder")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactFault, match="pad token"):
        siglip.load(folder, "cpu")
