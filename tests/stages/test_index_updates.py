"""A pool is brought up to date, resumed and kept whole, whatever happens meanwhile."""

import errno
import os
import signal
import subprocess
import sys

import filelock
import numpy as np
import pytest

from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.encoders import clip
from space_cli.io import items
from space_cli.io.pool import ShardWriter, open_pool
from tests.encoders.tiny_encoders import clip_folder
from tests.stages.indexing import Counting, by_content, fill, picture, pictures, run


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


def test_a_second_run_changes_nothing_and_loads_no_encoder(tmp_path, encoder, monkeypatch):
    source = fill(tmp_path / "in", {**pictures(5), "bad.png": b"x", "cut.jpg": picture(1, "JPEG")[:300]})
    first = run(source, encoder, tmp_path / "pool")
    stamp = (tmp_path / "pool/space.json").stat().st_mtime_ns
    progress = Counting()
    monkeypatch.setattr(clip, "load", lambda *_: pytest.fail("the encoder was loaded"))
    assert run(source, encoder, tmp_path / "pool", progress=progress) == first
    assert (tmp_path / "pool/space.json").stat().st_mtime_ns == stamp
    assert progress.notes == ["nothing changed: 5 images"]
    assert not (tmp_path / ".pool.partial").exists()
    (source / "bad.png").unlink()
    assert run(source, encoder, tmp_path / "pool").errors == 1, "dropping needs no encoder either"


def test_a_higher_pixel_limit_looks_again(tmp_path, encoder):
    source = fill(tmp_path / "in", pictures(6))
    assert run(source, encoder, tmp_path / "pool", max_pixels=62 * 50).errors == 3
    assert run(source, encoder, tmp_path / "pool").errors == 0


def test_only_new_content_is_embedded_and_vanished_is_dropped(tmp_path, encoder, embedded):
    source = fill(tmp_path / "in", pictures(10))
    run(source, encoder, tmp_path / "pool")
    embedded.clear()
    fill(source, pictures(3, first=20))
    (source / "000.png").unlink()
    (source / "001.jpeg").rename(source / "moved.jpg")
    manifest = run(source, encoder, tmp_path / "pool")
    assert sum(embedded) == 3
    assert manifest.images == 12
    run(source, encoder, tmp_path / "anew")
    updated, anew = by_content(tmp_path / "pool"), by_content(tmp_path / "anew")
    assert list(updated) == list(anew), "the same order as a new pool"
    assert all(np.allclose(updated[key], anew[key], atol=1e-6) for key in anew)
    assert open_pool(tmp_path / "pool").items == open_pool(tmp_path / "anew").items


def test_a_lower_pixel_limit_drops_what_is_now_too_large(tmp_path, encoder):
    source = fill(tmp_path / "in", pictures(6))
    run(source, encoder, tmp_path / "pool")
    manifest = run(source, encoder, tmp_path / "pool", max_pixels=62 * 50)
    assert (manifest.images, manifest.errors) == (3, 3)


def test_another_encoder_needs_overwrite(tmp_path, encoder, embedded):
    source = fill(tmp_path / "in", pictures(4))
    run(source, encoder, tmp_path / "pool")
    other = clip_folder(tmp_path / "other", seed=1)
    with pytest.raises(UsageFault, match="another encoder") as caught:
        run(source, other, tmp_path / "pool")
    assert "--overwrite" in caught.value.hint
    before = open_pool(tmp_path / "pool").embeddings
    run(source, other, tmp_path / "pool", overwrite=True)
    assert not np.allclose(open_pool(tmp_path / "pool").embeddings, before)
    embedded.clear()
    run(source, other, tmp_path / "pool", overwrite=True)
    assert sum(embedded) == 4, "overwriting begins anew"


def test_a_foreign_folder_is_not_replaced(tmp_path, encoder):
    source = fill(tmp_path / "in", pictures(2))
    fill(tmp_path / "pool", {"precious.txt": b"x"})
    for overwrite in (False, True):
        with pytest.raises(UsageFault):
            run(source, encoder, tmp_path / "pool", overwrite=overwrite)
    assert (tmp_path / "pool/precious.txt").read_bytes() == b"x"


def test_an_interrupted_run_is_resumed_from_its_shards(tmp_path, encoder, embedded):
    source = fill(tmp_path / "in", pictures(30))
    whole = run(source, encoder, tmp_path / "whole")
    embedded.clear()
    with pytest.raises(KeyboardInterrupt):
        run(source, encoder, tmp_path / "pool", progress=Counting(stop=20))
    done = sum(embedded)
    assert 8 <= done < 30
    assert not (tmp_path / "pool").exists()
    assert ShardWriter.kept, "the message says so"
    embedded.clear()
    resumed = run(source, encoder, tmp_path / "pool")
    assert sum(embedded) == 30 - done // 8 * 8, "at most one shard is lost"
    assert resumed.files == whole.files


CHILD = """
import sys
from pathlib import Path
from space_cli.core.protocols import Silent
from space_cli.core.recipe import IndexRequest
from space_cli.encoders import clip
from space_cli.stages.index import index
images, calls = clip.ClipEncoder.images, []
def slow(self, pixels):
    calls.append(1)
    if len(calls) > 3:
        print("two shards", flush=True)
        sys.stdin.read()
    return images(self, pixels)
clip.ClipEncoder.images = slow
request = IndexRequest(sources=(sys.argv[1],), encoder=sys.argv[2], batch_size=4, shard_size=4, device="cpu")
index(request, Path(sys.argv[3]), progress=Silent())
"""


@pytest.mark.slow
def test_a_killed_run_is_resumed_and_leaves_the_old_pool_whole(tmp_path, encoder, embedded):
    source = fill(tmp_path / "in", pictures(4))
    run(source, encoder, tmp_path / "pool", shard_size=4)
    fill(source, pictures(20, first=4))
    arguments = [sys.executable, "-c", CHILD, str(source), str(encoder), str(tmp_path / "pool")]
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout.readline() == b"two shards\n"
        with pytest.raises(EnvironmentFault, match="another run"):
            run(source, encoder, tmp_path / "pool", shard_size=4)
        child.send_signal(signal.SIGKILL)
    assert open_pool(tmp_path / "pool").manifest.images == 4
    embedded.clear()
    assert run(source, encoder, tmp_path / "pool", shard_size=4).images == 24
    assert sum(embedded) == 20 - 12


def test_two_runs_on_one_folder(tmp_path, encoder):
    source = fill(tmp_path / "in", pictures(2))
    with (
        filelock.FileLock(tmp_path / ".pool.lock"),
        pytest.raises(EnvironmentFault, match="another run is writing"),
    ):
        run(source, encoder, tmp_path / "pool")
    assert run(source, encoder, tmp_path / "pool").images == 2


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "is full"), (errno.EACCES, "may not be written")])
@pytest.mark.parametrize("where", ["save_tensors", "write_items", "faiss"])
def test_a_disk_that_refuses(tmp_path, encoder, monkeypatch, number, reason, where):
    source = fill(tmp_path / "in", pictures(3))
    before = run(source, encoder, tmp_path / "pool")
    fill(source, pictures(3, first=10))

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    if where == "save_tensors":
        monkeypatch.setattr(items, "save_tensors", refuse)
    elif where == "write_items":
        monkeypatch.setattr(items.pq, "write_table", refuse)
    else:
        import faiss

        writer = faiss.PyCallbackIOWriter
        monkeypatch.setattr(faiss, "PyCallbackIOWriter", lambda _: writer(refuse))
    with pytest.raises(EnvironmentFault, match=reason):
        run(source, encoder, tmp_path / "pool")
    assert open_pool(tmp_path / "pool").manifest == before


def test_a_pool_that_was_altered_is_not_built_upon(tmp_path, encoder):
    source = fill(tmp_path / "in", pictures(3))
    run(source, encoder, tmp_path / "pool")
    shard = tmp_path / "pool/shards/00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactFault, match="altered"):
        run(source, encoder, tmp_path / "pool")
    assert run(source, encoder, tmp_path / "pool", overwrite=True).images == 3
