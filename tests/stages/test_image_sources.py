"""A folder of images has the digest of what is read from it: links are followed, hidden files are nobody's."""

import os

import pytest

from auditing import run as audit

from space_cli.cli.app import run as command
from space_cli.io.artifact import digest_file, read_record, source_of
from space_cli.io.probe_images import probe_images
from space_cli.stages import audit as stage
from space_cli.stages.verify import verify
from tests.encoders.tiny_encoders import clip_folder
from tests.stages.indexing import fill, picture, pictures, run

ODD = os.fsdecode(b"caf\xe9.png")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip") / "encoder")


def failed(folder):
    return [check.name for check in verify(folder) if not check.passed]


def test_pictures_behind_a_link_cannot_be_swapped_unseen(tmp_path, encoder):
    fill(tmp_path / "elsewhere", pictures(3))
    fill(tmp_path / "in", pictures(2, first=3))
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert run(tmp_path / "in", encoder, tmp_path / "pool").images == 5
    assert failed(tmp_path / "pool") == []
    fill(tmp_path / "elsewhere", {"000.png": picture(9)})
    assert failed(tmp_path / "pool") == ["input images"]


def test_an_untouched_folder_verifies_whatever_else_lies_in_it(tmp_path, encoder):
    files = {".DS_Store": b"1", ".thumbs/a.png": picture(7), "notes.txt": b"n", f"deep/{ODD}": picture(8), ODD: b"x"}
    source = fill(tmp_path / "in", {**pictures(3), **files})
    assert run(source, encoder, tmp_path / "pool").images == 3
    assert failed(tmp_path / "pool") == []
    (source / ".DS_Store").write_bytes(b"2")
    assert failed(tmp_path / "pool") == []
    (source / "notes.txt").write_bytes(b"2")
    assert failed(tmp_path / "pool") == ["input images"]


def test_a_tar_is_described_by_itself(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"tar")
    assert source_of(tmp_path / "a.tar", "images").sha256 == digest_file(tmp_path / "a.tar")


def test_an_auditors_pictures_are_read_as_they_are_digested(tmp_path):
    fill(tmp_path / "elsewhere", {"deep/1.png": picture(1)})
    fill(tmp_path / "images", {"panda/0.png": picture(0), "panda/.hidden/2.png": picture(2), "owl/3.png": picture(3)})
    (tmp_path / "images" / "panda" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "panda" / "loop").symlink_to(tmp_path / "images")
    found = [(one.name, one.path.rpartition("/")[2]) for one in probe_images(tmp_path / "images", limit=None)]
    assert found == [("owl", "3.png"), ("panda", "0.png"), ("panda", "1.png")]
    before = source_of(tmp_path / "images", "images")
    fill(tmp_path / "elsewhere", {"deep/1.png": picture(4)})
    assert source_of(tmp_path / "images", "images") != before


def test_what_is_swapped_during_an_audit_is_found(erased, images, tmp_path, monkeypatch):
    opened = stage.open_model

    def swapping(place, *, device):
        (images / "panda" / "00.png").write_bytes(picture(9))
        return opened(place, device=device)

    monkeypatch.setattr(stage, "open_model", swapping)
    audit(erased, tmp_path / "audit", images=str(images), metrics=("forget_accuracy",))
    assert "input images" in failed(tmp_path / "audit")
    assert read_record(tmp_path / "audit").inputs[1] != source_of(images, "images")
    assert command(["verify", str(tmp_path / "audit"), "-q"]) == 4
