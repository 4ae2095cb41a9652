"""A checkpoint is opened from headers alone, and refused when it lies."""

import errno
import json
import os
import shutil
import struct

from pathlib import Path

import pytest
import torch

from safetensors.torch import save_file
from shard_folders import EDITED, FIRST, INDEX, SECOND, THIRD, sharded, single

from space_cli.core.errors import ArtifactFault, EnvironmentFault
from space_cli.io import shards
from space_cli.io.artifact import file_records
from space_cli.io.checkpoint import carried_files, check_recorded, open_checkpoint


def rewrite_header(path: Path, change) -> None:
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    change(header)
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + raw[8 + length :])


@pytest.mark.parametrize("dtype, spelled", [(torch.float16, "F16"), (torch.bfloat16, "BF16")])
def test_open_reads_names_shapes_and_dtypes(tmp_path, dtype, spelled):
    checkpoint = open_checkpoint(sharded(tmp_path / "base", dtype))
    assert checkpoint.model_type == "llava"
    assert checkpoint.shards == [FIRST, SECOND, THIRD]
    found = checkpoint.parameters[EDITED]
    assert (found.shape, found.dtype, found.file) == ((6, 8), spelled, SECOND)
    assert checkpoint.parameters["scale"].shape == ()
    assert checkpoint.tensor(EDITED).dtype == dtype


def test_open_reads_no_weight(tmp_path, monkeypatch):
    folder = sharded(tmp_path / "base")

    def refuse(path: Path, name: str) -> torch.Tensor:
        raise AssertionError(f"{name} was read")

    monkeypatch.setattr("space_cli.io.checkpoint.read_tensor", refuse)
    assert len(open_checkpoint(folder).parameters) == 6


def test_single_file_wins_over_a_stale_index(tmp_path):
    folder = sharded(tmp_path / "base")
    save_file({"weight": torch.ones(4, 4)}, folder / "model.safetensors")
    checkpoint = open_checkpoint(folder)
    assert checkpoint.shards == ["model.safetensors"]
    assert carried_files(checkpoint) == ["config.json"]


def test_unknown_parameter_is_refused(tmp_path):
    with pytest.raises(ArtifactFault, match="no parameter `nothing`"):
        open_checkpoint(single(tmp_path / "base")).tensor("nothing")


def test_missing_folder(tmp_path):
    with pytest.raises(ArtifactFault, match="does not exist"):
        open_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content, message",
    [
        (None, r"has no config\.json"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b"{}", "names no `model_type`"),
        (b'{"model_type": 3}', "names no `model_type`"),
    ],
)
def test_bad_config(tmp_path, content, message):
    folder = single(tmp_path / "base")
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_bytes(content)
    with pytest.raises(ArtifactFault, match=message) as fault:
        open_checkpoint(folder)
    assert fault.value.exit_code == 4


def test_unreadable_config(tmp_path, monkeypatch):
    folder = single(tmp_path / "base")

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(EnvironmentFault, match="may not be read"):
        open_checkpoint(folder)


def test_no_weights_at_all(tmp_path):
    folder = single(tmp_path / "base")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactFault, match="holds no weights"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "a.pkl", "a.pickle"])
def test_pickle_is_refused_with_the_way_out(tmp_path, name):
    folder = single(tmp_path / "base")
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ArtifactFault, match=f"pickle \\({name}\\).*refused") as fault:
        open_checkpoint(folder)
    assert "save_pretrained" in fault.value.hint


def test_missing_shard(tmp_path):
    folder = sharded(tmp_path / "base")
    (folder / SECOND).unlink()
    with pytest.raises(ArtifactFault, match=f"{SECOND}` is missing"):
        open_checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_truncated_shard(tmp_path, kept):
    folder = sharded(tmp_path / "base")
    raw = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(raw[:kept])
    with pytest.raises(ArtifactFault, match="corrupt or truncated") as fault:
        open_checkpoint(folder)
    assert SECOND in fault.value.message


def test_shard_longer_than_its_header_says(tmp_path):
    folder = single(tmp_path / "base")
    with (folder / "model.safetensors").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ArtifactFault, match="corrupt or truncated"):
        open_checkpoint(folder)


@pytest.mark.parametrize("length", [2**62, 99_000_000])
def test_absurd_header_length(tmp_path, length):
    folder = single(tmp_path / "base")
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + raw[8:])
    with pytest.raises(ArtifactFault, match="corrupt or truncated"):
        open_checkpoint(folder)


@pytest.mark.parametrize("shape", [[1 << 40, 1 << 40], [5, 4]])
def test_absurd_shape(tmp_path, shape):
    folder = single(tmp_path / "base")
    rewrite_header(folder / "model.safetensors", lambda header: header["weight"].update(shape=shape))
    with pytest.raises(ArtifactFault, match="corrupt or truncated"):
        open_checkpoint(folder)


def test_unreadable_shard(tmp_path, monkeypatch):
    folder = single(tmp_path / "base")

    def refuse(path: Path, framework: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shards, "safe_open", refuse)
    with pytest.raises(EnvironmentFault, match="may not be read"):
        open_checkpoint(folder)


def change_index(folder: Path, **places: object) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"].update(places)
    (folder / INDEX).write_text(json.dumps(index))


def test_index_names_a_parameter_the_shard_lacks(tmp_path):
    folder = sharded(tmp_path / "base")
    change_index(folder, ghost=FIRST)
    with pytest.raises(ArtifactFault, match="places `ghost` in the shard"):
        open_checkpoint(folder)


def test_index_names_the_wrong_shard(tmp_path):
    folder = sharded(tmp_path / "base")
    change_index(folder, scale=SECOND)
    with pytest.raises(ArtifactFault, match="places `scale` in the shard"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "place",
    ["../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "..\\x.safetensors", "x.bin", "", 3],
)
def test_index_points_elsewhere(tmp_path, place):
    folder = sharded(tmp_path / "base")
    shutil.copy(folder / FIRST, tmp_path / "x.safetensors")
    change_index(folder, scale=place)
    with pytest.raises(ArtifactFault, match="a safetensors file beside it is needed"):
        open_checkpoint(folder)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_shard_that_is_no_file_is_not_waited_for(tmp_path, make):
    folder = sharded(tmp_path / "base")
    (folder / THIRD).unlink()
    make(folder / THIRD)
    with pytest.raises(ArtifactFault, match=f"{THIRD}` is no file"):
        open_checkpoint(folder)


@pytest.mark.parametrize("content", ['{"weight_map": {}}', '{"weight_map": []}', "{}"])
def test_index_without_places(tmp_path, content):
    folder = sharded(tmp_path / "base")
    (folder / INDEX).write_text(content)
    with pytest.raises(ArtifactFault, match="has no `weight_map`"):
        open_checkpoint(folder)


def test_parameter_in_two_shards(tmp_path):
    folder = sharded(tmp_path / "base")
    save_file({"scale": torch.ones(()), "ids": torch.arange(5)}, folder / THIRD)
    index = json.loads((folder / INDEX).read_text())
    del index["weight_map"]["codes"]
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ArtifactFault, match="holds `scale` twice"):
        open_checkpoint(folder)


def test_recorded_files(tmp_path):
    folder = sharded(tmp_path / "base")
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_text("1")
    recorded = file_records(folder)
    (folder / ".git" / "index").write_text("2")
    check_recorded(open_checkpoint(folder), recorded)
    (folder / "new.txt").write_text("new")
    with pytest.raises(ArtifactFault, match="not among the files recorded"):
        check_recorded(open_checkpoint(folder), recorded)
    (folder / "new.txt").unlink()
    with pytest.raises(ArtifactFault, match="not among the files recorded"):
        check_recorded(open_checkpoint(folder), [])
    gone = [*recorded, recorded[0].model_copy(update={"path": "README.md"})]
    with pytest.raises(ArtifactFault, match="is missing"):
        check_recorded(open_checkpoint(folder), gone)
