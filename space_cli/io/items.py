"""Items of a pool with their embeddings, as tables and tensors; all are checked: a pool may be somebody else's."""

import os

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
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
        table = pq.read_table(path, schema=schema)
    except (OSError, ValueError, pa.ArrowException) as failure:
        raise ArtifactFault(f"`{path}` is not a readable list of items: {failure}") from None
    for name in schema.names:
        if name not in empty and table.column(name).null_count:
            raise ArtifactFault(f"`{path}` is not a readable list of items: a row has no `{name}`")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


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
        raise ArtifactFault(f"the embeddings in `{paths[0].parent}` do not fit together: {failure}") from failure


def _settle(draft: Path, path: Path) -> None:
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(path)
