"""A checkpoint is no more than its shards hold, and what is loaded of it is what they hold."""

import json
import shutil

import pytest
import torch

from safetensors.torch import load_file, save_file
from shard_folders import single
from transformers import AutoModelForImageTextToText

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.core.errors import ArtifactFault
from space_cli.encoders import clip
from space_cli.io import storage
from space_cli.io.artifact import RECORD_NAME, read_record
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.families import family_of
from space_cli.io.growing import refuse_growing
from space_cli.io.ledger import LEDGER, read_ledger
from space_cli.io.model import open_model
from tests.encoders.tiny_encoders import clip_folder

ENDLESS = 50_000_000
OTHER = "shard-00000-model-00001-of-00001.safetensors"


@pytest.fixture
def llava(tmp_path):
    folder = tmp_path / "llava"
    shutil.copytree(checkpoint_folder(), folder)
    return folder


@pytest.fixture
def unloaded(monkeypatch):
    """Fail where transformers is asked to load anything."""
    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", lambda *_, **__: pytest.fail("it was loaded"))


def change(path, part, **values):
    config = json.loads(path.read_text())
    (config[part] if part else config).update(values)
    path.write_text(json.dumps(config))


def test_a_decoder_of_endless_layers_is_refused_before_they_are_named(llava):
    change(llava / "config.json", "text_config", num_hidden_layers=ENDLESS)
    with pytest.raises(ArtifactFault, match=r"describes no `llava`.*50,000,000 layers is deeper"):
        family_of(llava)


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_more_layers_than_parameters_are_refused(llava, unloaded, part):
    change(llava / "config.json", part, num_hidden_layers=900)
    with pytest.raises(ArtifactFault, match=r"asks for 900 layers .*the shards hold 146 parameters"):
        open_model(llava, device="cpu")


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text_config", "vocab_size", 10**9),
        ("text_config", "head_dim", 4 * 10**6),
        ("vision_config", "image_size", 1_600_000),
    ],
)
def test_a_model_larger_than_its_shards_is_refused_before_its_memory_is_taken(llava, unloaded, part, key, value):
    change(llava / "config.json", part, **{key: value})
    shard = llava / "model.safetensors"
    kept = {name: weight for name, weight in load_file(shard).items() if "embed" not in name and "head" not in name}
    save_file(kept, shard, metadata={"format": "pt"})  # what is missing would be drawn at random
    with pytest.raises(ArtifactFault, match=r"describes a model of [\d,]+ weights: the shards hold"):
        open_model(llava, device="cpu")


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"num_hidden_layers": ENDLESS}, "asks for 50,000,000 layers"), ({"vocab_size": 10**9}, "describes a model of")],
)
def test_an_encoder_larger_than_its_shards_is_refused(tmp_path, monkeypatch, changed, said):
    folder = clip_folder(tmp_path / "clip")
    change(folder / "config.json", "text_config", **changed)
    monkeypatch.setattr(clip.CLIPModel, "from_pretrained", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(ArtifactFault, match=said):
        clip.load(folder, "cpu")


def test_an_image_is_not_blown_up_before_it_is_cut(llava, tmp_path):
    path = llava / "processor_config.json"
    rules = json.loads(path.read_text())
    rules["image_processor"]["size"] = {"shortest_edge": 100_000}
    path.write_text(json.dumps(rules))
    with pytest.raises(ArtifactFault, match="asks for 100,000 pixels as its `shortest_edge`: the tower reads 96"):
        open_model(llava, device="cpu")
    encoder = clip_folder(tmp_path / "clip")
    path = next(encoder.glob("*processor_config.json"))
    change(path, None, size={"shortest_edge": 100_000})
    with pytest.raises(ArtifactFault, match="asks for 100,000 pixels"):
        clip.load(encoder, "cpu")


@pytest.mark.parametrize("how", ["config", "adapter", "parts"])
def test_weights_that_would_be_loaded_in_place_of_the_shards_are_refused(llava, unloaded, how):
    if how == "config":
        change(llava / "config.json", None, transformers_weights="other.safetensors")
        shutil.copy(llava / "model.safetensors", llava / "other.safetensors")
    else:
        (llava / (OTHER if how == "parts" else "adapter_config.json")).write_bytes(b"{}")
    with pytest.raises(ArtifactFault, match="has transformers load") as fault:
        open_checkpoint(llava)
    assert "refused" in fault.value.message
    assert fault.value.hint
    with pytest.raises(ArtifactFault, match="has transformers load"):
        open_model(llava, device="cpu")


def test_an_ordinary_checkpoint_passes_every_guard(llava):
    (llava / "consolidated.safetensors").write_bytes(b"another layout of the same, which nothing loads")
    change(llava / "config.json", None, transformers_weights=None)
    assert open_model(llava, device="cpu").device == torch.device("cpu")


def test_a_text_that_no_text_is_as_large_as_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LARGEST", 1000)
    folder = single(tmp_path / "checkpoint")
    (folder / "space").mkdir()
    for name, read in ((RECORD_NAME, read_record), (LEDGER, read_ledger), ("config.json", open_checkpoint)):
        (folder / name).write_bytes(b" " * 1001)
        with pytest.raises(ArtifactFault, match=rf"{name}` has more than 1,000 bytes"):
            read(folder)


DOUBLING = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
EVERY = {"type": "Replace", "pattern": {"Regex": "."}, "content": "ab"}
TABLE = {"type": "Precompiled", "precompiled_charsmap": ""}


@pytest.mark.parametrize("part", ["normalizer", "decoder"])
@pytest.mark.parametrize("rules", [[DOUBLING] * 31, [EVERY] * 20, [TABLE] * 2])
def test_a_tokenizer_that_doubles_a_text_again_and_again_is_refused(llava, tmp_path, unloaded, part, rules):
    encoder = clip_folder(tmp_path / "clip")
    nested = {"type": "Sequence", f"{part}s": [{"type": "Sequence", f"{part}s": rules}]}
    for folder in (llava, encoder):
        change(folder / "tokenizer.json", None, **{part: nested})
    for load in (lambda: open_model(llava, device="cpu"), lambda: clip.load(encoder, "cpu")):
        with pytest.raises(ArtifactFault, match=f"more than 1,000 times as long by its `{part}`"):
            load()


def test_usual_rules_of_a_tokenizer_pass(llava):
    spaced = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    many = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}
    rules = [{"type": "Prepend", "prepend": "\u2581"}, {"type": "NFKC"}, TABLE, spaced, many]
    change(llava / "tokenizer.json", None, normalizer={"type": "Sequence", "normalizers": rules})
    refuse_growing(llava)
    (llava / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactFault, match="is not JSON"):
        refuse_growing(llava)


def test_answers_are_texts_whatever_a_generation_config_wants_beside_them(llava):
    change(llava / "generation_config.json", None, output_scores=True, return_dict_in_generate=True)
    assert isinstance(open_model(llava, device="cpu").answer(None, ["What is a panda?"])[0], str)
