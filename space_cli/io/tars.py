"""Pictures in tar files (WebDataset), found without unpacking anything."""

import tarfile
import zlib

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn, Self

from space_cli.core.errors import READABLE, ArtifactFault, EnvironmentFault
from space_cli.io.entry import LEAVE_OUT, Entry, ImageFault, check_size, is_image_name, refuse

# What `tarfile` raises for damaged headers, found by cutting and flipping bytes; endless extensions nest too deep.
_DAMAGE = (
    tarfile.TarError, EOFError, zlib.error, ValueError, IndexError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip


EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
"""Members that tell something about the next one, a long name for instance."""
MAX_EXTENSION = 2**20
"""Bytes of one; `tarfile` reads all that a header asks for, and compressed that costs a thousandth."""


class _Header(tarfile.TarInfo):
    """A header that takes no more memory than a picture's name may need."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header, refusing one that announces what no list of pictures has.

        Raises:
            ReadError: It is an extension without end, or that of a sparse file, whose map has no end either.
        """
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENSIONS and header.size > MAX_EXTENSION:
            raise tarfile.ReadError(f"a header of {header.size} bytes is too large: at most {MAX_EXTENSION} are read")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("it holds a sparse file")
        return header

    def _proc_gnusparse_10(self, *_: object) -> NoReturn:
        raise tarfile.ReadError("it holds a sparse file")


def in_tar(path: Path) -> Iterator[Entry]:
    """Find the pictures of a `.tar`, `.tar.gz` or `.tgz` file, in its order.

    Those before a damaged place are given; the place itself is one more, which cannot be read.

    Raises:
        ArtifactFault: It is no tar file.
        EnvironmentFault: It may not be read.
    """
    compressed = not path.name.lower().endswith(".tar")
    try:
        # A plain tar is opened for seeking, so that counting and rereading skip what they do not need.
        with tarfile.open(path, "r|gz" if compressed else "r:", tarinfo=_Header) as archive:
            yield from _members(path, archive, lazy=not compressed)
    except _DAMAGE as failure:
        raise ArtifactFault(f"`{path}` is not a readable tar file: {failure}", hint=LEAVE_OUT) from None
    except OSError as failure:
        raise EnvironmentFault(f"`{path}` may not be read: {failure.strerror or failure}", hint=READABLE) from failure


def _members(path: Path, archive: tarfile.TarFile, *, lazy: bool) -> Iterator[Entry]:
    try:
        yield from _pictures(path, archive, lazy=lazy)
    except _DAMAGE as failure:
        yield Entry(str(path), "", partial(refuse, f"the archive ends early or is damaged: {failure}"))


def _pictures(path: Path, archive: tarfile.TarFile, *, lazy: bool) -> Iterator[Entry]:
    for member in _headers(archive):
        if not member.isfile() or not is_image_name(member.name):
            continue
        if lazy:
            yield Entry(str(path), member.name, partial(_slice, path, member.offset_data, member.size))
        else:
            yield Entry(str(path), member.name, _streamed(archive, member))


def _headers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    reached = -1
    while (member := archive.next()) is not None:
        # A size below zero leads back to a header that was read already, and so for ever.
        if member.size < 0 or archive.offset <= reached:
            raise tarfile.ReadError("a member ends before it begins")
        reached = archive.offset
        # The archive keeps every header it saw, which a million members would feel.
        archive.members = []  # type: ignore[attr-defined]
        yield member


def _streamed(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], bytes]:
    try:
        check_size(member.size)
    except ImageFault as fault:
        return partial(refuse, fault.reason)
    stream = archive.extractfile(member)
    assert stream is not None, "a regular member can be read"
    return partial(bytes, stream.read())


def _slice(path: Path, start: int, size: int) -> bytes:
    check_size(size)
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(size)
    except OSError as failure:
        raise ImageFault(f"the archive cannot be read: {failure.strerror}") from failure
    if len(data) < size:
        raise ImageFault(f"the archive ends early: {len(data)} of {size} bytes are there")
    return data
