"""A pool or anchors of somebody else may hold anything: whatever does not fit is a fault of the folder."""

import json
import os
import resource
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from safetensors.torch import save_file

from space_cli.core.errors import ArtifactFault
from space_cli.core.recipe import Concept, IndexRequest, SelectRequest
from space_cli.core.records import AnchorsManifest, PoolManifest
from space_cli.core.types import Item
from space_cli.io import items
from space_cli.io import pool as pools
from space_cli.io.anchors import open_anchors
from space_cli.io.artifact import new_artifact
from space_cli.io.images import load_items
from space_cli.io.pool import Embedded, open_pool, write_pool

ROWS = {"sha256": ["a", "b"], "source": ["/x", "/x"], "member": ["1", "2"], "width": [1, 1], "height": [1, 1]}
ANCHORS = ROWS | {"role": ["forget", "holdout"], "similarity": [0.5, 0.5], "activation": [None, -1.0]}
FACTS = {"space_version": "0", "seed": 0, "inputs": []}


def pool_of(folder, change):
    items = [Item(*row) for row in zip(*ROWS.values(), strict=True)]
    with new_artifact(folder, "{}", overwrite=False) as draft:
        write_pool(draft.path, Embedded(items, np.eye(2, 4, dtype=np.float32)), [], shard_size=8)
        change(draft.path)
        request = IndexRequest(sources=("/x",), encoder="x")
        counts = {"images": 2, "errors": 0, "width": 4, "encoder_sha256": "0"}
        draft.finish(PoolManifest(**FACTS, **counts, files=draft.files(), run=draft.run(), request=request))
    return open_pool(folder)


def with_rows(**columns):
    return lambda folder: pq.write_table(pa.table(ROWS | columns), folder / "items.parquet")


def with_shard(**tensors):
    return lambda folder: save_file(tensors, folder / "shards" / "00000.safetensors")


@pytest.mark.parametrize(
    "columns", [{"member": ["1", None]}, {"width": ["wide", "1"]}, {"height": [1, 2**40]}, {"sha256": [[1], [2]]}]
)
def test_a_list_of_items_with_odd_values_is_refused(tmp_path, columns):
    with pytest.raises(ArtifactFault, match="is not a readable list of items"):
        pool_of(tmp_path / "pool", with_rows(**columns))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_shard(other=torch.ones(2, 4)), "has no readable tensor `embeddings`"),
        (with_shard(embeddings=torch.ones(3, 4)), "3 x 4 numbers: 2 items of 4"),
        (with_shard(embeddings=torch.ones(2, 5)), "2 x 5 numbers: 2 items of 4"),
        (with_shard(embeddings=torch.tensor(1.0)), "do not fit together"),
        (lambda folder: (folder / "shards" / "00000.safetensors").unlink(), "0 x 0 numbers"),
    ],
)
def test_embeddings_that_are_not_those_of_the_items_are_refused(tmp_path, change, said):
    pool = pool_of(tmp_path / "pool", change)
    with pytest.raises(ArtifactFault, match=said):
        pool.embeddings.sum()


def test_an_index_that_is_none_or_of_another_pool_is_refused(tmp_path):
    pool = pool_of(tmp_path / "pool", lambda folder: (folder / "index.faiss").write_bytes(b"no index"))
    with pytest.raises(ArtifactFault, match="is not a readable index"):
        pool.search(np.eye(1, 4, dtype=np.float32), 1)
    one = {name: values[:1] for name, values in ROWS.items()}
    pool = pool_of(tmp_path / "other", lambda folder: pq.write_table(pa.table(one), folder / "items.parquet"))
    with pytest.raises(ArtifactFault, match="2 x 4 numbers: 1 items of 4"):
        pool.search(np.eye(1, 4, dtype=np.float32), 1)


@pytest.mark.parametrize("line", ["{", "3", '{"reason": "x"}', "[" * 99999])
def test_an_odd_list_of_errors_is_refused(tmp_path, line):
    pool = pool_of(tmp_path / "pool", lambda folder: (folder / "errors.jsonl").write_text(line))
    with pytest.raises(ArtifactFault, match="is not a readable list of images"):
        json.dumps(pool.errors)


@pytest.mark.parametrize(
    ("columns", "said"),
    [({"role": ["forget", "bystander"]}, "the role `bystander`"), ({"similarity": [None, 0.1]}, "has no `similarity`")],
)
def test_odd_anchors_are_refused(tmp_path, columns, said):
    with new_artifact(tmp_path / "anchors", "{}", overwrite=False) as draft:
        pq.write_table(pa.table(ANCHORS | columns), draft.path / "anchors.parquet")
        request = SelectRequest(concept=Concept(name="panda"), pool="/pool")
        figures = {"floor": 0.1, "top_similarity": 0.2, "roles": {}, "leaks": 0, "leverage": []}
        figures |= {"activation_rate": None, "activation_reference": None}
        draft.finish(AnchorsManifest(**FACTS, **figures, files=draft.files(), run=draft.run(), request=request))
    with pytest.raises(ArtifactFault, match=said):
        open_anchors(tmp_path / "anchors")


@pytest.mark.parametrize("member", ["first", "-1", "9" * 9999, "\u0667", ""])
def test_a_member_that_no_table_or_folder_has_is_gone(tmp_path, member):
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "x.parquet")
    os.mkfifo(tmp_path / "pipe.parquet")
    for source in ("x.parquet", "pipe.parquet", ".", "a" * 9999):
        with pytest.raises(ArtifactFault, match="is gone or was changed"):
            load_items([Item("0" * 64, str(tmp_path / source), member, 1, 1)])


@pytest.mark.parametrize("texts", [{}, {"member": "x" * 1000}])
def test_a_table_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path, monkeypatch, texts):
    """A row of ours has a digest of its own; equal rows of a bomb cost a few bytes for a million."""
    monkeypatch.setattr(items, "SMALL", 10_000)
    path, count = tmp_path / "items.parquet", 200 if texts else 1_000_000
    row = {"sha256": "a" * 64, "source": "/x", "member": "1", "width": 1, "height": 1} | texts
    schema = pa.schema(items.FIELDS)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(1 if not texts else 20):
            columns = [pa.array([value] * count, field.type) for value, field in zip(row.values(), schema, strict=True)]
            writer.write_table(pa.table(columns, schema=schema))
    monkeypatch.setattr(items.pq, "read_table", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(ArtifactFault, match="it unpacks to far more than it holds"):
        items.read_items(path)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("claimed", [2**30, 2**36])
def test_an_index_that_claims_more_than_its_file_takes_no_memory(tmp_path, monkeypatch, inverted, claimed):
    def lie(folder):
        if inverted:
            rows = np.random.default_rng(0).random((200, 4), dtype=np.float32)
            index = pools.build_index(rows, exact_limit=100)
        else:
            index = pools.build_index(np.eye(2, 4, dtype=np.float32), exact_limit=100)
        raw = pools.faiss_module().serialize_index(index).tobytes()
        size = struct.pack("<Q", 14 * 4 if inverted else 8)  # of the centres, or of all rows, in numbers
        assert raw.count(size) > 0
        (folder / "index.faiss").write_bytes(raw.replace(size, struct.pack("<Q", claimed), 1))

    pool, faiss = pool_of(tmp_path / "pool", lie), pools.faiss_module()
    before, held = faiss.get_deserialization_vector_byte_limit(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArtifactFault, match="is not a readable index"):
        pool.search(np.ones((1, 4), dtype=np.float32), 1)
    assert faiss.get_deserialization_vector_byte_limit() == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < 500_000, "kilobytes"


def test_an_index_that_finds_rows_which_are_not_there_is_refused(tmp_path):
    def lie(folder):
        faiss = pools.faiss_module()
        index = faiss.IndexIDMap(faiss.IndexFlatIP(4))
        index.add_with_ids(np.eye(2, 4, dtype=np.float32), np.array([0, 7]))
        faiss.write_index(index, str(folder / "index.faiss"))

    def unordered(folder):
        pools.faiss_module().write_index(
            pools.build_index(np.full((2, 4), np.nan, dtype=np.float32), exact_limit=100), str(folder / "index.faiss")
        )

    for name, change in (("lie", lie), ("unordered", unordered)):
        with pytest.raises(ArtifactFault, match="finds rows that the pool does not have"):
            pool_of(tmp_path / name, change).search(np.eye(2, 4, dtype=np.float32), 1)
