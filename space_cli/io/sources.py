"""Where pictures lie: folders, tar files (WebDataset) and parquet tables, read without unpacking anything."""

import os
import re

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.io.entry import LEAVE_OUT, Entry, ImageFault, check_size, is_image_name, read_file, refuse
from space_cli.io.listing import files_below, unlikely
from space_cli.io.tars import in_tar

Kind = Literal["folder", "tar", "parquet"]
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
PARQUET_SUFFIX = ".parquet"
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "content", "data")
"""Column names that hold pictures in common data sets, tried in this order."""
_ROW = re.compile(r"[0-9]{1,18}")
ROWS = 1
"""Parquet rows in memory at once: of a table that says one large image for every row, more would fill it."""


def entries(source: str) -> Iterator[Entry]:
    """Find every picture of a source, in an order that depends on its content alone.

    A folder is walked to the bottom; tar and parquet files in it are opened. Hidden names are passed over.
    What is there and cannot be looked at, such as a link to nothing named like a tar, is a picture that cannot be read.

    Args:
        source: Folder, tar file or parquet file.

    Raises:
        UsageFault: It does not exist, or is something else.
        ArtifactFault: A tar or parquet file cannot be opened.
        EnvironmentFault: A folder may not be read.
    """
    path = Path(source).absolute()
    readers = {"folder": _in_folder, "tar": in_tar, "parquet": _in_parquet}
    yield from readers[kind(source)](path)


def kind(source: str) -> Kind:
    """Tell what a source is, refusing what is none with a `UsageFault`."""
    path = Path(source)
    if why := unlikely(path, "images", ""):  # no digest is taken of it in the end
        raise UsageFault(f"`{source}` is no source of images: {why}", hint="give a folder of images")
    if path.is_dir():
        return "folder"
    if path.is_file() and path.name.lower().endswith(TAR_SUFFIXES):
        return "tar"
    if path.is_file() and path.suffix.lower() == PARQUET_SUFFIX:
        return "parquet"
    found = "is not a folder, a tar or a parquet file" if path.exists() else "does not exist"
    raise UsageFault(f"`{source}` {found}", hint="give a folder of images, a .tar or a .parquet file")


def count(source: str) -> int | None:
    """Count the pictures of a source from names and headers alone.

    Returns:
        The count, or None where a compressed tar would have to be unpacked to know.
    """
    path = Path(source).absolute()
    found = kind(source)
    if found == "folder":
        parts = [1 if _is_single(each) else count(str(each)) for each in _walk(path)]
        return None if None in parts else sum(part or 0 for part in parts)
    if found == "parquet":
        return int(_parquet(path).metadata.num_rows)
    return sum(1 for _ in in_tar(path)) if path.suffix.lower() == ".tar" else None


def reread(source: str, members: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Read chosen members of a source again.

    Args:
        source: As in `Entry.source`.
        members: As in `Entry.member`; a name that a tar holds twice comes twice.

    Yields:
        Member and bytes, in the source's order; members that are gone are left out.

    Raises:
        ImageFault: A member is there but cannot be read.
    """
    path = Path(source)
    # os.path, unlike pathlib, answers False to a name that no file can have.
    if os.path.isdir(source):
        present = (member for member in sorted(members) if os.path.isfile(path / member))
        yield from ((member, read_file(path / member)) for member in present)
    elif not os.path.isfile(source):
        return
    elif path.suffix.lower() == PARQUET_SUFFIX:
        yield from _reread_rows(path, {int(member) for member in members if _ROW.fullmatch(member)})
    else:
        wanted = set(members)
        yield from ((entry.member, entry.read()) for entry in in_tar(path) if entry.member in wanted)


def _in_folder(folder: Path) -> Iterator[Entry]:
    for path in _walk(folder):
        if _is_single(path):
            member = path.relative_to(folder).as_posix()
            yield Entry(str(folder), member, partial(read_file, path))
        else:
            yield from entries(str(path))


def _is_single(path: Path) -> bool:
    """Tell a picture, or what can only be recorded as an unreadable one, from a tar or a table with many."""
    return is_image_name(path.name) or not os.path.isfile(path)


def _walk(folder: Path) -> Iterator[Path]:
    """List pictures, tars, tables and what cannot be looked at below a folder."""
    for path in files_below(folder):
        named = is_image_name(path.name) or path.name.lower().endswith((*TAR_SUFFIXES, PARQUET_SUFFIX))
        if named or _is_closed(path):
            yield path


def _is_closed(path: Path) -> bool:
    """Tell a link to itself, or into a folder that may not be read: it may stand for many pictures."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _in_parquet(path: Path) -> Iterator[Entry]:
    table = _parquet(path)
    column = image_column(path, table.schema_arrow)
    row = 0
    try:
        for batch in table.iter_batches(batch_size=ROWS, columns=[column]):
            yield Entry(str(path), str(row), _reader(batch))
            row += 1
    except (OSError, pa.ArrowException) as failure:
        yield Entry(str(path), str(row), partial(refuse, f"the table is damaged from this row on: {failure}"))


def _reread_rows(path: Path, rows: set[int]) -> Iterator[tuple[str, bytes]]:
    table = _parquet(path)
    column = image_column(path, table.schema_arrow)
    first = 0
    for group in range(table.num_row_groups):
        after = first + table.metadata.row_group(group).num_rows
        if any(first <= row < after for row in rows):
            row = first
            for batch in table.iter_batches(batch_size=ROWS, columns=[column], row_groups=[group]):
                if row in rows:
                    yield str(row), _reader(batch)()
                row += 1
        first = after


def image_column(path: Path, schema: pa.Schema) -> str:
    """Return the column of pictures, binary or a struct with `bytes`: by its usual name, or the only one.

    Raises:
        ArtifactFault: There is none, or several that no name tells apart.
    """
    holding = [field.name for field in schema if _holds_bytes(field.type)]
    usual = [name for name in IMAGE_COLUMNS if name in holding]
    if usual or len(holding) == 1:
        return str((usual or holding)[0])
    what = f"several binary columns ({', '.join(holding)})" if holding else "no binary column"
    raise ArtifactFault(
        f"`{path}` has {what}: one column of image bytes is needed", hint=f"name it `{IMAGE_COLUMNS[0]}`"
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _reader(row: pa.RecordBatch) -> Callable[[], bytes]:
    """Return what reads the one row of a batch, whose size is looked at before a second copy is made."""
    try:
        check_size(row.nbytes)
    except ImageFault as fault:
        return partial(refuse, fault.reason)
    return partial(_row_bytes, row.column(0)[0].as_py())


def _row_bytes(value: object) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise ImageFault("the row holds no image bytes")
    check_size(len(data))
    return data


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        table = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as failure:
        raise ArtifactFault(f"`{path}` is not a readable parquet file: {failure}", hint=LEAVE_OUT) from None
    rows, size = table.metadata.num_rows, path.stat().st_size
    if rows > size:  # a billion equal rows fit in a few bytes, and each would be noted
        raise ArtifactFault(f"`{path}` has {rows} rows in {size} bytes: no row of them can be an image", hint=LEAVE_OUT)
    return table
