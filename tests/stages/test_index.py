"""The same pictures give the same pool however they came, and bad ones cost a line."""

import json
import os
import tarfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.encoders import clip
from space_cli.io.artifact import source_of
from space_cli.io.images import load_items
from space_cli.io.pool import open_pool
from space_cli.stages.index import plan
from tests.encoders.tiny_encoders import clip_folder, siglip_folder
from tests.io.test_images import bomb, framed
from tests.io.test_tars import member, written
from tests.stages.indexing import Counting, asked, by_content, errors_of, fill, picture, pictures, run


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip") / "encoder")


@pytest.fixture
def embedded(monkeypatch):
    """The number of images the encoder saw."""
    seen = []
    images = clip.ClipEncoder.images

    def counted(self, pixels):
        seen.append(len(pixels))
        return images(self, pixels)

    monkeypatch.setattr(clip.ClipEncoder, "images", counted)
    return seen


def test_rows_are_the_encoders_own_embeddings(tmp_path, encoder):
    manifest = run(fill(tmp_path / "in", pictures(10)), encoder, tmp_path / "pool")
    pool = open_pool(tmp_path / "pool")
    assert (manifest.images, manifest.errors, manifest.duplicates, manifest.width) == (10, 0, 0, 16)
    assert pool.manifest == manifest
    assert [item.member for item in pool.items] == sorted(pictures(10))
    tower = clip.load(encoder, "cpu")
    expected = tower.images(torch.stack([tower.preprocess(image) for image in load_items(pool.items)])).numpy()
    np.testing.assert_allclose(pool.embeddings, expected, atol=1e-5)
    _, rows = pool.search(pool.embeddings, 1)
    assert rows[:, 0].tolist() == list(range(10))
    assert not (tmp_path / "pool/fresh").exists()
    assert not list(tmp_path.glob(".pool.partial"))


def test_folder_tar_and_table_give_the_same_pool(tmp_path, encoder):
    files = pictures(9)
    fill(tmp_path / "in", files)
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        archive.add(tmp_path / "in", arcname="x")
    with tarfile.open(tmp_path / "in.tgz", "w:gz") as archive:
        archive.add(tmp_path / "in", arcname="x")
    pq.write_table(
        pa.table({"image": [{"bytes": data, "path": None} for data in files.values()]}),
        tmp_path / "in.parquet",
    )
    pools = {}
    for name in ("in", "in.tar", "in.tgz", "in.parquet"):
        run(tmp_path / name, encoder, tmp_path / f"pool-{name}")
        pools[name] = by_content(tmp_path / f"pool-{name}")
        assert len(load_items(open_pool(tmp_path / f"pool-{name}").items)) == 9
    for other in pools.values():
        assert other.keys() == pools["in"].keys()
        assert all(np.allclose(row, pools["in"][key], atol=1e-6) for key, row in other.items())


@pytest.mark.parametrize("workers", [0, 3])
def test_same_inputs_same_bytes(tmp_path, encoder, workers):
    fill(tmp_path / "in", {**pictures(20), "bad.png": b"x", "worse.jpg": picture(1, "JPEG")[:90]})
    first = run(tmp_path / "in", encoder, tmp_path / "one")
    second = run(tmp_path / "in", encoder, tmp_path / "two", workers=workers)
    assert first.files == second.files
    assert first.inputs == second.inputs
    assert first.inputs[1] == source_of(tmp_path / "in", "images")
    assert first.inputs[0] == source_of(encoder, "encoder")


def test_bad_images_are_recorded_and_not_fatal(tmp_path, encoder):
    bad = {"bomb.png": bomb(), "cut.jpg": picture(1, "JPEG")[:300], "text.png": b"hello", "void.gif": b""}
    manifest = run(fill(tmp_path / "in", {**pictures(3), **bad}), encoder, tmp_path / "pool")
    assert (manifest.images, manifest.errors) == (3, 4)
    found = {error["member"]: error["reason"] for error in errors_of(tmp_path / "pool")}
    assert found["bomb.png"] == "60000 x 60000 pixels are too many: at most 64000000 are decoded"
    assert found["cut.jpg"].startswith("damaged: ")
    assert found["text.png"] == "not a PNG, JPEG, WebP, GIF or BMP file"
    assert found["void.gif"] == "the file is empty"
    assert {error["source"] for error in errors_of(tmp_path / "pool")} == {str(tmp_path / "in")}


def test_odd_files_are_recorded_and_not_fatal(tmp_path, encoder):
    source = fill(tmp_path / "in", {**pictures(3), "frame.gif": framed(65_535, 65_535)})
    (source / "loop").symlink_to("loop")
    (source / "x.tar").symlink_to("nowhere")
    with tarfile.open(os.fsencode(source) + b"/\xff.tar", "w") as archive:
        archive.add(source / "000.png", arcname="a.png")
    written(source / "back.tar", member("b.png", picture(9)), member("c.png", size=-512))
    assert plan(asked(source, encoder))["images"] == 9
    manifest = run(source, encoder, tmp_path / "pool")
    assert (manifest.images, manifest.errors, manifest.duplicates) == (4, 5, 0)
    assert {error["member"] for error in errors_of(tmp_path / "pool")} == {"frame.gif", "loop", "x.tar", "", "a.png"}
    assert len(load_items(open_pool(tmp_path / "pool").items)) == 4


def test_max_errors_is_a_limit(tmp_path, encoder):
    fill(tmp_path / "in", {**pictures(3), "a.png": b"x", "b.png": b"y"})
    assert run(tmp_path / "in", encoder, tmp_path / "pool", max_errors=2).errors == 2
    with pytest.raises(ArtifactFault, match="2 images cannot be used") as caught:
        run(tmp_path / "in", encoder, tmp_path / "other", max_errors=1)
    assert caught.value.figures == {"errors": 2, "max_errors": 1}
    assert caught.value.exit_code == 4
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"x"}, {"a.png": b"x", "b.jpg": b""}])
def test_nothing_usable_is_refused(tmp_path, encoder, files):
    (tmp_path / "in").mkdir()
    fill(tmp_path / "in", files)
    with pytest.raises(ArtifactFault, match="no image can be used") as caught:
        run(tmp_path / "in", encoder, tmp_path / "pool")
    bad = sum(not name.endswith("txt") for name in files)
    assert caught.value.figures == {"images": 0, "errors": bad}
    assert [path.name for path in tmp_path.iterdir() if "lock" not in path.name] == ["in"], "nothing is left behind"


def test_a_name_that_is_not_utf8_is_recorded(tmp_path, encoder):
    fill(tmp_path / "in", pictures(2))
    with open(os.fsencode(tmp_path / "in") + b"/\xff.png", "wb") as stream:
        stream.write(picture(5))
    assert run(tmp_path / "in", encoder, tmp_path / "pool").images == 2
    assert errors_of(tmp_path / "pool")[0]["reason"] == "its name is not UTF-8"


def test_copies_are_embedded_once(tmp_path, encoder, embedded):
    files = pictures(5)
    copies = {f"copy/{name}": data for name, data in files.items()}
    manifest = run(fill(tmp_path / "in", {**files, **copies, "x.png": b"x", "y.png": b"x"}), encoder, tmp_path / "pool")
    assert (manifest.images, manifest.errors, manifest.duplicates) == (5, 1, 6)
    assert sum(embedded) == 5


def test_siglip_indexes_too(tmp_path):
    other = siglip_folder(tmp_path / "siglip")
    assert run(fill(tmp_path / "in", pictures(3)), other, tmp_path / "pool").width == 32


def test_an_encoder_of_no_known_type_is_refused(tmp_path):
    source = fill(tmp_path / "in", pictures(1))
    fill(tmp_path / "encoder", {"config.json": b'{"model_type": "bert"}'})
    with pytest.raises(ArtifactFault, match=r"type `bert`: known are clip, siglip"):
        run(source, tmp_path / "encoder", tmp_path / "pool")
    for text in (b"{", b"[]", b"[" * 100_000):
        fill(tmp_path / "encoder", {"config.json": text})
        with pytest.raises(ArtifactFault, match=r"no readable config.json"):
            run(source, tmp_path / "encoder", tmp_path / "pool")


def test_a_missing_source_is_a_usage_fault(tmp_path, encoder):
    with pytest.raises(UsageFault, match="does not exist"):
        run(tmp_path / "absent", encoder, tmp_path / "pool")


def test_a_full_device_halves_the_batch(tmp_path, encoder, monkeypatch):
    images = clip.ClipEncoder.images
    sizes = []

    def bounded(self, pixels):
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(pixels))
        return images(self, pixels)

    monkeypatch.setattr(clip.ClipEncoder, "images", bounded)
    assert run(fill(tmp_path / "in", pictures(6)), encoder, tmp_path / "pool").images == 6
    assert sizes == [1] * 6

    def full(self, pixels):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(clip.ClipEncoder, "images", full)
    with pytest.raises(EnvironmentFault, match="no memory for one image"):
        run(tmp_path / "in", encoder, tmp_path / "other")


def test_an_encoder_that_gives_nonsense_is_refused(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(clip.ClipEncoder, "images", lambda _, pixels: torch.full((len(pixels), 16), torch.nan))
    with pytest.raises(ArtifactFault, match="not finite"):
        run(fill(tmp_path / "in", pictures(2)), encoder, tmp_path / "pool")


def test_progress_reaches_the_total(tmp_path, encoder):
    progress = Counting()
    fill(tmp_path / "in", {**pictures(11), "bad.png": b"x"})
    run(tmp_path / "in", encoder, tmp_path / "pool", progress=progress)
    assert progress.steps == progress.total == 12


def test_decoding_ahead_is_bounded(tmp_path, encoder, monkeypatch):
    """No more pictures wait than the window holds, however slow the encoder is."""
    decoded, most = [], []
    images, preprocess = clip.ClipEncoder.images, clip.ClipEncoder.preprocess

    def counted(self, image):
        decoded.append(1)
        return preprocess(self, image)

    def slow(self, pixels):
        time.sleep(0.05)
        most.append(len(decoded))
        return images(self, pixels)

    monkeypatch.setattr(clip.ClipEncoder, "preprocess", counted)
    monkeypatch.setattr(clip.ClipEncoder, "images", slow)
    run(fill(tmp_path / "in", pictures(40)), encoder, tmp_path / "pool", batch_size=2)
    assert most[0] <= 2 + 2 * 2 + 1, "a batch, the window behind it and the one being handed over"


def test_a_plan_reads_headers_alone(tmp_path, encoder):
    source = fill(tmp_path / "in", pictures(5))
    found = plan(asked(source, encoder))
    assert (found["images"], found["width"], found["model_type"]) == (5, 16, "clip")
    assert found["sources"] == {str(source): 5}
    assert json.dumps(found)
    odd = fill(tmp_path / "odd", {"config.json": b'{"model_type": "clip", "vision_config": 3}'})
    assert plan(asked(source, odd))["width"] is None
    remote = plan(asked(source, "someone/some-clip"))
    assert remote["width"] is None
    assert remote["images"] == 5
    with pytest.raises(UsageFault):
        plan(asked(tmp_path / "absent", encoder))
