"""One picture that was found and not yet read, and why one cannot be."""

import os
import stat

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp"})
MAX_MEMBER = 256 * 2**20
"""Bytes; an encoded picture is far smaller, and several are in memory at once."""
LEAVE_OUT = "copy or download it again, or leave it out"


class ImageFault(Exception):
    """One picture cannot be used; it is recorded, not fatal.

    Args:
        reason: What is wrong with it, one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Entry:
    """One picture that was found and not yet read."""

    source: str  # folder, tar or parquet file, absolute
    member: str  # path inside a folder or tar, row number of a parquet table
    read: Callable[[], bytes]  # raises ImageFault; may be called once, on any thread


def is_image_name(name: str) -> bool:
    """Tell whether a file name ends like a picture and is not hidden."""
    last = name.rsplit("/", 1)[-1]
    return not last.startswith(".") and os.path.splitext(last)[1].lower() in IMAGE_SUFFIXES


def read_file(path: Path) -> bytes:
    """Read a picture's file.

    Raises:
        ImageFault: It is gone, too large, may not be read, or is a device or a pipe.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageFault("not a regular file")
        check_size(status.st_size)
        return path.read_bytes()
    except OSError as failure:
        raise ImageFault(f"the file cannot be read: {failure.strerror}") from failure


def check_size(size: int) -> None:
    """Refuse what is too large for a picture.

    Raises:
        ImageFault: It is.
    """
    if size > MAX_MEMBER:
        refuse(f"{size} bytes are too many: at most {MAX_MEMBER} are read")


def refuse(reason: str) -> NoReturn:
    """Raise an `ImageFault` where a function is asked for rather than a statement."""
    raise ImageFault(reason)
