"""Items of a pool with their embeddings, as tables and tensors; all are checked: a pool may be somebody else's."""

import os

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from space_cli.core.errors import ArtifactFault, is_out_of_memory
from space_cli.core.types import Item
from space_cli.io.shards import read_tensor, save_tensors

FIELDS = [
    ("sha256", pa.string()), ("source", pa.string()), ("member", pa.string()),
    ("width", pa.int32()), ("height", pa.int32()),
]  # fmt: skip
"""Columns of an item, and their types."""
_SCHEMA = pa.schema(FIELDS)
ANEW = "run `space index --overwrite`"
EITHER = f"{ANEW}, or `space select --overwrite` for a list of anchors"


DIGEST = 32
"""Bytes of a SHA-256, which no packing makes fewer."""
SMALL = 4 * 2**20
"""Bytes; what a table of this size may unpack to is no burden."""
UNPACKED = 64
"""A table of ours unpacks to at most this many times its own size."""


def write_items(path: Path, items: Sequence[Item]) -> None:
    """Write a list that is whole or absent."""
    columns = {field.name: [getattr(item, field.name) for item in items] for field in _SCHEMA}
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as stream:
        pq.write_table(pa.table(columns, schema=_SCHEMA), stream)
    _settle(draft, path)


def read_items(path: Path) -> list[Item]:
    """Read what `write_items` wrote.

    Raises:
        ArtifactFault: It is missing, damaged, or a value of it is.
    """
    return [Item(**row) for row in table_rows(path, _SCHEMA)]


def table_rows(path: Path, schema: pa.Schema, *, empty: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the rows of a table that has these columns.

    Args:
        path: A Parquet file.
        schema: Its columns.
        empty: Those in which a value may be missing.

    Raises:
        ArtifactFault: It cannot be read, or lacks a value.
    """
    try:
        _refuse_unpacked(path)
        table = pq.read_table(path, schema=schema)
    except (OSError, ValueError, pa.ArrowException) as failure:
        raise ArtifactFault(f"`{path}` is not a readable list of items: {failure}", hint=EITHER) from None
    for name in schema.names:
        if name not in empty and table.column(name).null_count:
            raise ArtifactFault(f"`{path}` is not a readable list of items: a row has no `{name}`", hint=EITHER)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _refuse_unpacked(path: Path) -> None:
    """Refuse a table that would fill the memory: Parquet says a million equal rows in a few bytes.

    Every row of ours has a digest of its own, which takes its bytes however it is packed.
    """
    file, size = pq.ParquetFile(path), max(path.stat().st_size, SMALL)
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    unpacked = sum(group.total_byte_size for group in groups)
    if (
        file.metadata.num_rows * DIGEST > size
        or unpacked > UNPACKED * size
        or _text_bytes(path, file) > UNPACKED * size
    ):
        raise ArtifactFault(
            f"`{path}` is not a readable list of items: it unpacks to far more than it holds",
            hint=f"do not trust the folder; {EITHER}",
        )


def _text_bytes(path: Path, file: pq.ParquetFile) -> int:
    """Count the bytes of all texts in a table, with each different one in memory once."""
    total = 0
    for name in (field.name for field in file.schema_arrow if pa.types.is_string(field.type)):
        for chunk in pq.ParquetFile(path, read_dictionary=[name]).read([name]).column(0).chunks:
            lengths = pc.cast(pc.binary_length(chunk.dictionary), pa.int64())
            total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return total


def write_embeddings(path: Path, embeddings: np.ndarray) -> None:
    """Write the embeddings of a shard, [n, d]; the file is whole or absent."""
    draft = path.with_suffix(".tmp")
    save_tensors({"embeddings": torch.from_numpy(np.ascontiguousarray(embeddings))}, draft)
    _settle(draft, path)


def read_embeddings(paths: Sequence[Path]) -> np.ndarray:
    """Read the embeddings of shards that follow one another, [n, d] float32.

    Raises:
        ArtifactFault: One is missing or damaged, or is as wide as no other.
    """
    if not paths:
        return np.empty((0, 0), dtype=np.float32)
    try:
        return torch.cat([read_tensor(path, "embeddings") for path in paths]).float().numpy()
    except (RuntimeError, IndexError) as failure:
        if is_out_of_memory(failure):
            raise
        raise ArtifactFault(
            f"the embeddings in `{paths[0].parent}` do not fit together: {failure}", hint=ANEW
        ) from failure


def _settle(draft: Path, path: Path) -> None:
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(path)
