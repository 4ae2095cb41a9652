"""An edited copy is a drop-in: same keys, same bytes wherever nothing was edited, whole or absent."""

import errno
import os
import shutil

from pathlib import Path

import pytest
import safetensors
import torch

from shard_folders import EDITED, FIRST, INDEX, SECOND, THIRD, sharded, tiny_delta
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.io import shards
from space_cli.io.artifact import digest_file, file_records
from space_cli.io.checkpoint import carried_files, open_checkpoint, write_edited


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_edit_is_rounded_once_and_the_rest_stays(tmp_path, dtype):
    base = open_checkpoint(sharded(tmp_path / "base", dtype))
    before = file_records(base.folder)
    write_edited(base, {EDITED: tiny_delta}, tmp_path / "out")
    after = open_checkpoint(tmp_path / "out")
    assert after.parameters == base.parameters
    expected = (base.tensor(EDITED).double() + tiny_delta().double()).float().to(dtype)
    assert torch.equal(after.tensor(EDITED), expected)
    for name in set(base.parameters) - {EDITED}:
        assert torch.equal(after.tensor(name), base.tensor(name))
    assert file_records(base.folder) == before
    assert not list((tmp_path / "out").glob(".*"))


def test_untouched_shards_are_linked_and_the_edited_one_is_not(tmp_path):
    base = open_checkpoint(sharded(tmp_path / "base"))
    out = tmp_path / "out"
    write_edited(base, {EDITED: tiny_delta}, out)
    assert [(base.folder / name).samefile(out / name) for name in (FIRST, SECOND, THIRD)] == [
        True,
        False,
        True,
    ]
    with safetensors.safe_open(out / SECOND, framework="pt") as shard:
        assert shard.metadata() == {"format": "pt"}
    assert (out / SECOND).stat().st_mode == (out / "config.json").stat().st_mode


def test_without_links_every_shard_is_a_copy(tmp_path):
    base = open_checkpoint(sharded(tmp_path / "base"))
    write_edited(base, {}, tmp_path / "out", link=False)
    assert not any((base.folder / name).samefile(tmp_path / "out" / name) for name in base.shards)
    assert file_records(tmp_path / "out") == file_records(base.folder)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_links_are_impossible_bytes_are_copied(tmp_path, monkeypatch, number):
    base = open_checkpoint(sharded(tmp_path / "base"))

    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    write_edited(base, {}, tmp_path / "out")
    assert file_records(tmp_path / "out") == file_records(base.folder)


def test_hub_cache_links_are_resolved(tmp_path):
    real = sharded(tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for path in real.iterdir():
        (snapshot / path.name).symlink_to(os.path.relpath(path, snapshot))
    write_edited(open_checkpoint(snapshot), {EDITED: tiny_delta}, tmp_path / "out")
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    assert (tmp_path / "out" / FIRST).samefile(real / FIRST)
    assert (tmp_path / "out" / "config.json").read_bytes() == (real / "config.json").read_bytes()


@pytest.mark.parametrize("cached", [False, True])
def test_a_link_takes_no_private_file_along(tmp_path, cached):
    folder = sharded(tmp_path / "snapshots" / "abc" if cached else tmp_path / "base")
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("secret")
    if cached:
        (tmp_path / "blobs").symlink_to("private")
    (folder / "LICENSE").symlink_to("config.json")
    write_edited(open_checkpoint(folder), {}, tmp_path / "fine")
    (folder / "README.md").symlink_to("../../blobs/key" if cached else "../private/key")
    with pytest.raises(ArtifactFault, match=r"README\.md` is a link to `.*private/key`"):
        write_edited(open_checkpoint(folder), {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_same_edit_same_bytes(tmp_path):
    base = open_checkpoint(sharded(tmp_path / "base", torch.bfloat16))
    for name in ("one", "two"):
        write_edited(base, {EDITED: tiny_delta, "embed.weight": lambda: torch.ones(12, 8)}, tmp_path / name)
    assert file_records(tmp_path / "one") == file_records(tmp_path / "two")
    assert digest_file(tmp_path / "one" / SECOND) != digest_file(base.folder / SECOND)


def test_what_is_carried_over(tmp_path):
    folder = sharded(tmp_path / "base")
    kept = ["README.md", "chat_template.jinja", "extra/notes.txt", "tokenizer.model"]
    left = [".gitattributes", ".cache/x", ".git/config", "space.json", "space/recipe.toml", "extra/w.safetensors"]
    left += [
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "tf_model.h5",
        "extra/model.safetensors.index.json",
    ]
    for name in kept + left:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(name.encode() + b"\r\n\x00")
    base = open_checkpoint(folder)
    assert carried_files(base) == sorted([*kept, "config.json", INDEX])
    write_edited(base, {EDITED: tiny_delta}, tmp_path / "out")
    found = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*") if path.is_file()
    }
    assert found == {*kept, "config.json", INDEX, FIRST, SECOND, THIRD}
    assert all((tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes() for name in kept)


def test_a_second_write_never_goes_through_a_link(tmp_path):
    base = open_checkpoint(sharded(tmp_path / "base"))
    before = file_records(base.folder)
    out = tmp_path / "out"
    write_edited(base, {}, out)
    (out / ".writing").mkdir()
    (out / ".writing" / "left-by-a-kill").write_text("x")
    write_edited(base, {EDITED: tiny_delta}, out)
    assert file_records(base.folder) == before
    assert not torch.equal(open_checkpoint(out).tensor(EDITED), base.tensor(EDITED))
    assert not (out / ".writing").exists()


@pytest.mark.parametrize(
    "delta, message",
    [
        (torch.full((6, 8), torch.nan), "not finite"),
        (torch.full((6, 8), torch.inf), "not finite"),
        (torch.full((6, 8), 1e6), "not finite"),  # beyond float16
        (torch.zeros(8, 6), r"shape \[6, 8\]: its edit has \[8, 6\]"),
        (torch.zeros(1, 8), r"shape \[6, 8\]"),
    ],
)
def test_bad_delta_writes_nothing(tmp_path, delta, message):
    base = open_checkpoint(sharded(tmp_path / "base"))
    with pytest.raises(ArtifactFault, match=message):
        write_edited(base, {EDITED: lambda: delta}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_failure_leaves_what_was_there(tmp_path):
    base = open_checkpoint(sharded(tmp_path / "base"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "request.json").write_text("{}")
    with pytest.raises(ArtifactFault):
        write_edited(base, {EDITED: lambda: torch.zeros(2, 2)}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["request.json"]


def test_unknown_and_quantised_parameters(tmp_path):
    base = open_checkpoint(sharded(tmp_path / "base"))
    with pytest.raises(ArtifactFault, match="no parameter `ghost`"):
        write_edited(base, {"ghost": tiny_delta}, tmp_path / "out")
    with pytest.raises(ArtifactFault, match=r"stored as torch\.int8"):
        write_edited(base, {"codes": lambda: torch.zeros(2, 4)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_base_is_never_written_into(tmp_path):
    base = open_checkpoint(sharded(tmp_path / "base"))
    for out in (base.folder, base.folder / ".space" / "erased"):
        with pytest.raises(UsageFault, match="lies inside the checkpoint"):
            write_edited(base, {EDITED: tiny_delta}, out)


@pytest.mark.parametrize("link", [True, False])
def test_full_disk_is_seen_before_writing(tmp_path, monkeypatch, link):
    base = open_checkpoint(sharded(tmp_path / "base"))
    names = [SECOND, "config.json", INDEX] + ([] if link else [FIRST, THIRD])
    needed = sum((base.folder / name).stat().st_size for name in names)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    with pytest.raises(EnvironmentFault, match="GB of disk") as fault:
        write_edited(base, {EDITED: tiny_delta}, tmp_path / "out", link=link)
    assert fault.value.exit_code == 5
    assert fault.value.figures == {"needed_bytes": needed, "free_bytes": needed - 1}
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    write_edited(base, {EDITED: tiny_delta}, tmp_path / "out", link=link)


def test_disk_that_fills_up_while_a_shard_is_written(tmp_path, monkeypatch):
    base = open_checkpoint(sharded(tmp_path / "base"))

    def full(tensors: object, path: Path, metadata: object) -> None:
        # How safetensors 0.8 spells it.
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(shards, "save_file", full)
    with pytest.raises(EnvironmentFault, match="is full"):
        write_edited(base, {EDITED: tiny_delta}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_disk_that_fills_up_while_a_file_is_copied(tmp_path, monkeypatch):
    base = open_checkpoint(sharded(tmp_path / "base"))

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(EnvironmentFault, match="is full"):
        write_edited(base, {EDITED: tiny_delta}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_link_that_fails_for_another_reason_is_no_copy(tmp_path, monkeypatch):
    base = open_checkpoint(sharded(tmp_path / "base"))

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(EnvironmentFault, match="may not be written"):
        write_edited(base, {}, tmp_path / "out")


def test_error_of_safetensors_without_a_number_is_an_input_output_error(tmp_path, monkeypatch):
    def broken(tensors: object, path: Path, metadata: object) -> None:
        raise safetensors.SafetensorError("something else")

    monkeypatch.setattr(shards, "save_file", broken)
    with pytest.raises(OSError, match="something else") as failure:
        shards.save_tensors({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    assert failure.value.errno == errno.EIO


def test_transformers_loads_the_edited_copy(tmp_path):
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=8,
            patch_size=4,
        ),
        text_config=LlamaConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=40
        ),
        image_token_index=39,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).to(torch.float16)
    model.save_pretrained(tmp_path / "base", max_shard_size="8KB")
    base = open_checkpoint(tmp_path / "base")
    assert len(base.shards) > 3
    name = "language_model.model.layers.1.mlp.down_proj.weight"
    delta = torch.linspace(-0.5, 0.5, 16 * 32).reshape(16, 32)
    write_edited(base, {name: lambda: delta}, tmp_path / "out")
    again, report = LlavaForConditionalGeneration.from_pretrained(
        tmp_path / "out", dtype=torch.float16, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    moved = {
        key: new - old
        for (key, old), new in zip(model.state_dict().items(), again.state_dict().values(), strict=True)
        if not torch.equal(old, new)
    }
    assert list(moved) == ["model.language_model.layers.1.mlp.down_proj.weight"]
    assert torch.allclose(moved["model.language_model.layers.1.mlp.down_proj.weight"].float(), delta, atol=1e-3)
