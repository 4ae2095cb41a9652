"""What a record or a folder names, and what would be read for ever or cannot be a path, is a failed check."""

import os

from pathlib import Path

import pytest
import torch

from erased_folder import make_base, make_edits, make_erased, make_pool

from space_cli.cli.app import run
from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.records import Source
from space_cli.io import listing, sources
from space_cli.io.artifact import digest_file, read_record, source_of
from space_cli.io.ledger import LEDGER
from space_cli.io.probe import unchanged
from space_cli.stages.verify import verify


def failed(folder):
    return {check.name: check.detail for check in verify(folder) if not check.passed}


@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "loop", "x" * 300, "a\0b"])
def test_an_input_that_is_neither_file_nor_folder_cannot_be_found(tmp_path, place):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "images").mkdir()
    pool = make_pool(tmp_path / "pool", tmp_path / "images")
    named = Source(kind="images", path=str(tmp_path / place), sha256="0" * 64)
    (pool / "space.json").write_text(read_record(pool).model_copy(update={"inputs": [named]}).model_dump_json())
    assert "cannot be found" in failed(pool)["input images"]


@pytest.mark.parametrize("place", ["/a\0b", "/" + "x" * 300, "x" * 300])
def test_a_base_whose_place_no_path_can_be_is_a_fault_of_the_folder(tmp_path, place, capsys):
    erased = make_erased(tmp_path / "erased", make_base(tmp_path / "base", torch.float16), edits=make_edits())
    named = Source(kind="checkpoint", path=place, sha256="0" * 64)
    (erased / "space.json").write_text(read_record(erased).model_copy(update={"inputs": [named]}).model_dump_json())
    assert run(["verify", str(erased)]) == 4
    assert run(["revert", str(erased), str(tmp_path / "out")]) == 4
    assert "come back only up to rounding" in capsys.readouterr().err
    assert run(["audit", str(erased), "--out", str(tmp_path / "audit")]) == 4
    assert "is gone" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", LEDGER])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path, name):
    erased = make_erased(tmp_path / "erased", make_base(tmp_path / "base", torch.float16), edits=make_edits())
    (erased / name).unlink()
    os.mkfifo(erased / name)
    assert "is missing" in failed(erased)[f"file {name}"]


@pytest.mark.parametrize("kind", ["images", "checkpoint", "pool"])
@pytest.mark.parametrize("place", ["/", "/proc", "/proc/self/status", "/dev"])
def test_the_whole_disk_is_no_input(tmp_path, monkeypatch, kind, place):
    (tmp_path / "images").mkdir()
    pool = make_pool(tmp_path / "pool", tmp_path / "images")
    monkeypatch.setattr("space_cli.io.artifact._source_digest", lambda *_: pytest.fail("it was walked"))
    monkeypatch.setattr("space_cli.stages.verify.digest_file", once(digest_file, pool / "space.json"))
    name(pool, kind, place)
    told = f"`{place}` is no input of the kind `{kind}` and was not read: it is of the system"
    assert failed(pool)[f"input {kind}"] == told
    with pytest.raises(ArtifactFault, match=told):
        source_of(Path(place), kind)


@pytest.mark.parametrize("place", ["/", "/proc", "/dev"])
def test_the_whole_disk_is_no_source_of_images_before_one_is_read(place):
    with pytest.raises(UsageFault, match=f"`{place}` is no source of images: it is of the system"):
        sources.count(place)


def test_a_folder_in_memory_is_an_input_as_any_other(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "SYSTEM", (str(tmp_path),))
    monkeypatch.setattr(listing, "MEMORY", str(tmp_path / "shm"))
    (tmp_path / "shm" / "images").mkdir(parents=True)
    assert source_of(tmp_path / "shm" / "images", "images")
    for place in (tmp_path, tmp_path / "shm"):
        with pytest.raises(ArtifactFault, match="it is of the system"):
            source_of(place, "images")


@pytest.mark.parametrize(
    ("kind", "holds", "why"),
    [
        ("checkpoint", [], "it holds no config.json"),
        ("encoder", [], "it holds no config.json"),
        ("anchors", ["a/1", "a/2", "a/3"], "it holds more than 3 files"),
        ("checkpoint", ["config.json", "a/1", "a/2", ".git/3"], "it holds more than 3 files"),
    ],
)
def test_a_folder_that_cannot_be_the_input_is_not_walked(tmp_path, monkeypatch, kind, holds, why):
    (tmp_path / "images").mkdir()
    pool, other = make_pool(tmp_path / "pool", tmp_path / "images"), tmp_path / "home"
    for path in (other / "letters", *(other / held for held in holds)):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"")
    (other / "letters").unlink()
    monkeypatch.setattr(listing, "MANY", 3)
    name(pool, kind, str(other))
    assert failed(pool)[f"input {kind}"].endswith(why)
    with pytest.raises(ArtifactFault, match=f"was not read: {why}"):
        unchanged(read_record(pool).inputs, kind)
    (other / "a" / "2").unlink(missing_ok=True)
    if "more" in why:
        assert "was altered" in failed(pool)[f"input {kind}"]


def name(pool, kind, place):
    named = Source(kind=kind, path=place, sha256="0" * 64)
    (pool / "space.json").write_text(read_record(pool).model_copy(update={"inputs": [named]}).model_dump_json())


def once(read, allowed):
    return lambda path: read(path) if path == allowed else pytest.fail(f"{path} was read")
