"""A name becomes a folder, or an error that says which of the many reasons it is."""

import errno
import os

from pathlib import Path

import huggingface_hub.errors
import pytest

from shard_folders import sharded, single

from space_cli.core.errors import ArtifactFault, EnvironmentFault, NetworkFault, UsageFault
from space_cli.io import hub
from space_cli.io.checkpoint import open_checkpoint, resolve


def test_resolve_prefers_a_folder(tmp_path, monkeypatch):
    folder = single(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    assert resolve(str(folder)) == resolve("base") == resolve("./base/") == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/base") == folder
    with pytest.raises(UsageFault, match="a revision needs a hub id"):
        resolve("base", "main")


@pytest.fixture
def no_hub(monkeypatch):
    def refuse(*arguments: object, **options: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(hub, "snapshot_download", refuse)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    "name", ["./x", "../x", "/nowhere/x", "~/nowhere", "a/b/c", "name/", "a/b/", "a\\b", "." + "x"]
)
def test_resolve_missing_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactFault, match="does not exist"):
        resolve(name)


@pytest.mark.usefixtures("no_hub")
def test_resolve_file(tmp_path):
    path = single(tmp_path / "base") / "model.safetensors"
    with pytest.raises(ArtifactFault, match="is a file"):
        resolve(str(path))


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    "name", ["", "a b", "a--b", "a..b", "-a", "x.git", "🦊", "a\nb", "a\0b", "x" * 10_000, "org/" + "x" * 97]
)
def test_resolve_malformed_name(name):
    with pytest.raises(UsageFault, match="neither a folder nor a hub id"):
        resolve(name)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("revision", ["", "../main", "a b", "/main", "a..b", "x" * 300])
def test_resolve_malformed_revision(revision):
    with pytest.raises(UsageFault, match="is no revision"):
        resolve("org/name", revision)


def test_resolve_asks_for_safe_files_only(tmp_path, monkeypatch):
    asked = {}

    def download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "is_offline_mode", lambda: False)
    assert resolve("org/name", "refs/pr/4") == tmp_path
    assert (asked["name"], asked["revision"], asked["local_files_only"]) == ("org/name", "refs/pr/4", False)
    listing = [
        "model-1.safetensors",
        "config.json",
        "vocab.txt",
        "tokenizer.model",
        "chat_template.jinja",
        "README.md",
    ]
    refused = [
        "pytorch_model.bin",
        "a.pt",
        "tokenizer.pkl",
        "x.py",
        "LICENSE.ckpt",
        "original/a.safetensors",
        "m.gguf",
    ]
    kept = huggingface_hub.utils.filter_repo_objects(
        listing + refused, allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(kept) == listing


def hub_error(kind: type[Exception]) -> Exception:
    return kind.__new__(kind, "refused")  # the hub's own constructors want a live response


@pytest.mark.parametrize(
    "kind, message, hint",
    [
        (huggingface_hub.errors.RepositoryNotFoundError, "no repository on the hub", "spelling of the name"),
        (huggingface_hub.errors.GatedRepoError, "is gated", "HF_TOKEN"),
        (huggingface_hub.errors.RevisionNotFoundError, "has no revision `v1`", "--revision"),
        (huggingface_hub.errors.HfHubHTTPError, "could not be downloaded: HfHubHTTPError", "network"),
        (huggingface_hub.errors.LocalEntryNotFoundError, "could not be downloaded", "network"),
        (ConnectionError, "could not be downloaded: ConnectionError", "network"),
        (TimeoutError, "could not be downloaded: TimeoutError", "network"),
    ],
)
def test_hub_faults(monkeypatch, kind, message, hint):
    def fail(name: str, **options: object) -> str:
        raise hub_error(kind)

    monkeypatch.setattr(hub, "snapshot_download", fail)
    monkeypatch.setattr(hub, "is_offline_mode", lambda: False)
    with pytest.raises(NetworkFault, match=message) as fault:
        resolve("org/name", "v1")
    assert fault.value.exit_code == 6
    assert hint in fault.value.hint


def test_full_disk_while_downloading(monkeypatch):
    def fail(name: str, **options: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(EnvironmentFault, match="is full"):
        resolve("org/name")


def offline_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "is_offline_mode", lambda: True)
    real = hub.snapshot_download
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **options: real(name, cache_dir=folder, **options))


def test_offline_and_not_cached(tmp_path, monkeypatch):
    offline_cache(tmp_path, monkeypatch)
    with pytest.raises(NetworkFault, match="offline mode is on") as fault:
        resolve("org/name")
    assert "HF_HUB_OFFLINE" in fault.value.hint


def test_offline_and_cached(tmp_path, monkeypatch):
    commit = "a" * 40
    place = tmp_path / "models--org--name"
    sharded(place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    offline_cache(tmp_path, monkeypatch)
    assert resolve("org/name") == place / "snapshots" / commit
    assert open_checkpoint(resolve("org/name", commit)).model_type == "llava"
