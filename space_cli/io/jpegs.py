"""How often a JPEG has its pixels gone over, told from its markers alone."""

import re

from collections.abc import Iterator
from itertools import islice

MAX_SCANS = 200
"""A progressive JPEG has about ten. Each costs time by the pixels of the image, and a hundred bytes ask for one."""
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""Not a byte of a scan that only looks like one, nor what lets a decoder begin again."""
_SCAN, _END, _BARE = 0xDA, 0xD9, {0x01, 0xD8}


def has_endless_scans(data: bytes) -> bool:
    """Tell whether a JPEG has more scans than any that a camera or a program writes."""
    likely = data.count(bytes((0xFF, _SCAN))) > MAX_SCANS  # a film behind the image may hold as many by chance
    return likely and any(islice(_scans(data), MAX_SCANS, None))


def _scans(data: bytes) -> Iterator[bool]:
    place = 0
    while (found := _MARKER.search(data, place)) is not None and found[1][0] != _END:
        marker, place = found[1][0], found.end()
        if marker == _SCAN:
            yield True
        if marker not in _BARE:
            place += int.from_bytes(data[place : place + 2], "big")
