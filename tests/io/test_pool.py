"""A pool finds what a plain matrix product finds, and says so when FAISS cannot be used."""

import sys
import types

import numpy as np
import pytest

from space_cli.core.errors import ArtifactFault, EnvironmentFault
from space_cli.core.recipe import IndexRequest
from space_cli.core.records import PoolManifest
from space_cli.core.types import Item
from space_cli.io import pool as pools
from space_cli.io.artifact import new_artifact
from space_cli.io.pool import (
    Embedded,
    ImageError,
    ShardWriter,
    build_index,
    gather,
    open_pool,
    read_shards,
    write_pool,
)

WIDTH = 24


def unit(rows, seed=0):
    values = np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def clustered(rows, seed=0):
    """Points about 40 directions, as pictures lie about their subjects."""
    centres = np.repeat(unit(40, seed), -(-rows // 40), axis=0)[:rows]
    values = centres + 0.15 * unit(rows, seed + 1)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def items(count, prefix=""):
    return [Item(f"{prefix}{number:064}", "/images", f"{number}.png", 4, 5) for number in range(count)]


def written(folder, embeddings, **options):
    with new_artifact(folder, "{}", overwrite=False) as draft:
        errors = [ImageError("/images", "\udcff.png", "its name is not UTF-8")]
        write_pool(draft.path, Embedded(items(len(embeddings)), embeddings), errors, **options)
        draft.finish(
            PoolManifest(
                space_version="0", seed=0, inputs=[], files=draft.files(), run=draft.run(),
                request=IndexRequest(sources=("/images",), encoder="x"),
                images=len(embeddings), errors=1, width=WIDTH, encoder_sha256="0",
            )
        )  # fmt: skip
    return open_pool(folder)


def exact(embeddings, queries, k):
    similarities = queries @ embeddings.T
    rows = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarities, rows, axis=1), rows


def test_a_pool_comes_back_as_it_was_written(tmp_path):
    embeddings = unit(10)
    pool = written(tmp_path / "pool", embeddings, shard_size=4)
    assert [path.name for path in sorted((tmp_path / "pool/shards").iterdir())] == [
        f"0000{number}.safetensors" for number in range(3)
    ]
    assert pool.items == items(10)
    assert pool.manifest.images == 10
    np.testing.assert_array_equal(pool.embeddings, embeddings)
    assert '"member": "\\udcff.png"' in (tmp_path / "pool/errors.jsonl").read_text()


def test_exact_search_equals_the_matrix_product(tmp_path):
    embeddings, queries = unit(300), unit(7, seed=5)
    pool = written(tmp_path / "pool", embeddings, shard_size=64)
    similarities, rows = pool.search(queries, 20)
    expected, expected_rows = exact(embeddings, queries, 20)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    np.testing.assert_array_equal(rows, expected_rows)
    assert pool.search(queries, 1000)[1].shape == (7, 300), "k is at most the pool"


def test_inverted_lists_find_the_exact_neighbours(tmp_path):
    embeddings, queries = clustered(4000), clustered(40, seed=0)[:, :]
    pool = written(tmp_path / "pool", embeddings, shard_size=4096, exact_limit=1000)
    assert type(pool._index).__name__ == "IndexIVFFlat"
    assert pool._index.nprobe > 1
    _, rows = pool.search(queries, 10)
    _, expected = exact(embeddings, queries, 10)
    found = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, expected, strict=True)])
    assert found > 0.99
    assert (pool.search(queries, 4000)[1] >= 0).all(), "every list is searched where the probed ones run out"


def test_the_index_has_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        written(tmp_path / name, clustered(3000), shard_size=1000, exact_limit=1000)
    for name in ("index.faiss", "items.parquet", "shards/00001.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_shards_are_counted_when_whole(tmp_path):
    writer = ShardWriter(tmp_path / "fresh", 0, 4)
    rows, found = unit(10), items(10)
    for start in range(0, 10, 2):
        writer.add(found[start : start + 2], rows[start : start + 2])
    assert len(read_shards(tmp_path / "fresh")) == 2, "the last two items wait"
    (tmp_path / "fresh/00001.parquet").unlink()
    [kept] = read_shards(tmp_path / "fresh")
    assert kept.items == found[:4]
    np.testing.assert_array_equal(kept.embeddings, rows[:4])
    writer.flush()
    assert [len(part.items) for part in writer.parts] == [4, 4, 2]
    (tmp_path / "fresh/00000.parquet").write_bytes(b"cut")
    with pytest.raises(ArtifactFault, match="not a readable list"):
        read_shards(tmp_path / "fresh")


def test_gathering_follows_the_items(tmp_path):
    rows, found = unit(6), items(6)
    order = [found[5], found[0], found[3]]
    pool = gather(order, [Embedded(found[:4], rows[:4]), Embedded(found[4:], rows[4:])])
    np.testing.assert_array_equal(pool.embeddings, rows[[5, 0, 3]])


def test_an_altered_pool_is_refused(tmp_path):
    written(tmp_path / "pool", unit(5), shard_size=8)
    with (tmp_path / "pool/index.faiss").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ArtifactFault, match="altered"):
        open_pool(tmp_path / "pool")
    with pytest.raises(ArtifactFault, match=r"no space.json"):
        open_pool(tmp_path)


def test_a_faiss_that_is_missing_or_not_whole_is_an_environment_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(EnvironmentFault, match="cannot be imported") as missing:
        build_index(unit(3), exact_limit=10)
    monkeypatch.setitem(sys.modules, "faiss", types.ModuleType("faiss"))
    with pytest.raises(EnvironmentFault, match="not whole") as broken:
        build_index(unit(3), exact_limit=10)
    assert missing.value.hint == broken.value.hint == "space doctor"


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_gpu_is_used_only_where_there_is_one(monkeypatch, gpus):
    fake = types.ModuleType("faiss")
    fake.IndexFlatIP = fake.StandardGpuResources = object
    fake.get_num_gpus = lambda: gpus
    fake.index_cpu_to_gpus_list = lambda index, gpus: ("gpu", index, gpus)
    monkeypatch.setitem(sys.modules, "faiss", fake)
    assert pools._on_gpu("index") == (("gpu", "index", [0]) if gpus else "index")
