"""The anchors of one concept on disk: a Parquet table with a role for each pool image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from space_cli.core.errors import ArtifactFault
from space_cli.core.records import AnchorsManifest
from space_cli.core.types import ROLES, Anchor, Item
from space_cli.io.artifact import open_artifact
from space_cli.io.items import FIELDS, table_rows

TABLE = "anchors.parquet"


def write_anchors(folder: Path, anchors: Sequence[Anchor]) -> None:
    """Write the table of a draft folder."""
    rows = [
        {
            "sha256": anchor.item.sha256,
            "source": anchor.item.source,
            "member": anchor.item.member,
            "width": anchor.item.width,
            "height": anchor.item.height,
            "role": anchor.role,
            "similarity": anchor.similarity,
            "activation": anchor.activation,
        }
        for anchor in anchors
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), folder / TABLE)


def open_anchors(folder: Path) -> tuple[AnchorsManifest, list[Anchor]]:
    """Read the anchors of a finished folder.

    Raises:
        ArtifactFault: The folder is missing, incomplete, altered, or of another kind.
    """
    record = open_artifact(folder, "anchors")
    assert isinstance(record, AnchorsManifest)
    path = folder / TABLE
    anchors = [_anchor(row) for row in table_rows(path, _SCHEMA, empty=["activation"])]
    odd = sorted({anchor.role for anchor in anchors} - set(ROLES))
    if odd:
        raise ArtifactFault(
            f"`{path}` gives an image the role `{odd[0]}`: roles are {', '.join(ROLES)}",
            hint="run `space select --overwrite`",
        )
    return record, anchors


def _anchor(row: dict[str, Any]) -> Anchor:
    item = Item(*(row[name] for name in ("sha256", "source", "member", "width", "height")))
    return Anchor(item, row["role"], row["similarity"], row["activation"])


_SCHEMA = pa.schema([*FIELDS, ("role", pa.string()), ("similarity", pa.float64()), ("activation", pa.float64())])
