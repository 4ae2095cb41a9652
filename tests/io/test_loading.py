"""A folder that cannot be loaded is told from a machine that cannot hold it."""

import json
import shutil

import pytest
import torch

from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, CLIPModel

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.core.errors import ArtifactFault, EnvironmentFault
from space_cli.encoders import clip
from space_cli.io.model import open_model
from tests.encoders.tiny_encoders import clip_folder

LINUX = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip") / "encoder")


@pytest.fixture
def llava(tmp_path):
    folder = tmp_path / "llava"
    shutil.copytree(checkpoint_folder(), folder)
    return folder


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError(LINUX),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes"),
        RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        SafetensorError("I/O error: Cannot allocate memory (os error 12)"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_a_lack_of_memory_is_no_fault_of_the_folder(encoder, monkeypatch, failure):
    def refuse(*_, **__):
        raise failure

    for architecture in (CLIPModel, AutoModelForImageTextToText):
        monkeypatch.setattr(architecture, "from_pretrained", refuse)
    with pytest.raises(EnvironmentFault, match="memory ran out while"):
        clip.load(encoder, "cpu")
    with pytest.raises(EnvironmentFault, match="memory ran out while"):
        open_model(checkpoint_folder(), device="cpu")


WRONG = [{"vision_config": 3}, {"vision_config": {"hidden_size": "x"}}, {"text_config": [1]}]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_an_encoders_config_of_other_values_is_refused(tmp_path, wrong):
    folder = clip_folder(tmp_path / "encoder")
    change(folder, **wrong)
    with pytest.raises(ArtifactFault, match="cannot be loaded") as fault:
        clip.load(folder, "cpu")
    assert "\n" not in fault.value.message


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_checkpoints_config_of_other_values_is_refused(llava, wrong):
    change(llava, **wrong)
    with pytest.raises(ArtifactFault, match=r"cannot be loaded|describes no `llava`") as fault:
        open_model(llava, device="cpu")
    assert "\n" not in fault.value.message


def test_what_a_family_needs_of_a_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(ArtifactFault, match="describes no `llava`: it lacks 'vision_config'") as fault:
        open_model(tmp_path, device="cpu")
    assert "converted to that of transformers" in fault.value.hint


@pytest.mark.parametrize("kind", ["llava", "clip"])
def test_code_in_a_folder_is_refused_and_nobody_is_asked(llava, tmp_path, monkeypatch, kind):
    folder = llava if kind == "llava" else clip_folder(tmp_path / "clip")
    given = next(
        folder / name for name in ("processor_config.json", "preprocessor_config.json") if (folder / name).exists()
    )
    rules = json.loads(given.read_text())
    given.unlink()
    own = {"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}}
    (folder / "preprocessor_config.json").write_text(json.dumps(rules.get("image_processor", rules) | own))
    (folder / "own.py").write_text("from transformers import CLIPImageProcessorPil as Own")
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("somebody was asked whether to run code"))
    with pytest.raises(ArtifactFault, match="cannot be loaded"):
        open_model(folder, device="cpu") if kind == "llava" else clip.load(folder, "cpu")


@pytest.mark.parametrize(
    "asked",
    [
        {"attn_implementation": "some/kernel"},
        {"_attn_implementation": "flash_attention_2"},
        {"attn_implementation": {"text_config": "some/kernel"}},
        {"part": {"experts_implementation": "some/kernel"}},
    ],
)
def test_a_config_that_asks_for_code_from_the_hub_is_refused(llava, tmp_path, asked):
    change(llava, **asked)
    with pytest.raises(ArtifactFault, match=r"from the hub as its `.*implementation`: refused"):
        open_model(llava, device="cpu")
    encoder = clip_folder(tmp_path / "clip")
    change(encoder, **asked)
    with pytest.raises(ArtifactFault, match=r"from the hub as its `.*implementation`: refused"):
        clip.load(encoder, "cpu")


def test_what_comes_with_transformers_may_be_asked_for(llava):
    # The truth value is what earlier versions of transformers wrote into many a published config.
    noted = {"_attn_implementation_autoset": True}
    change(llava, attn_implementation={"text_config": "eager"}, _attn_implementation=None, **noted, part=noted)
    assert open_model(llava, device="cpu")


@pytest.mark.parametrize("layer", [999, -999, [1, 2], "last"])
def test_a_layer_that_the_tower_does_not_have_is_refused(llava, layer):
    change(llava, vision_feature_layer=layer)
    with pytest.raises(ArtifactFault, match="describes no `llava`"):
        open_model(llava, device="cpu")
