"""A hostile archive ends, with what was good in it."""

import gzip
import random
import tarfile

from contextlib import suppress

import pytest

from readable import outcome

from space_cli.core.errors import ArtifactFault
from space_cli.io.sources import count

BLOCK = 512


def member(name, data=b"", *, size=None, kind=tarfile.REGTYPE):
    """Return header and content of one member, the size in the header as stated."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size is not None:
        header[124:136] = (size % 256**12).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")
        header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:BLOCK]))
    return bytes(header) + data + b"\0" * (-len(data) % BLOCK)


def written(path, *members):
    data = b"".join(members) + b"\0" * 2 * BLOCK
    path.write_bytes(data if path.suffix == ".tar" else gzip.compress(data))
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
@pytest.mark.parametrize("size", [-1, -BLOCK, -2 * BLOCK])
def test_a_member_that_leads_back_ends_the_archive(tmp_path, suffix, size):
    path = written(tmp_path / f"x{suffix}", member("a.png", b"first"), member("b.png", size=size))
    good, bad = outcome(path)
    assert good == {"a.png": b"first"}
    assert bad == ["the archive ends early or is damaged: a member ends before it begins"]
    assert count(str(path)) == (2 if suffix == ".tar" else None)


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_an_extension_that_leads_back_ends_the_archive(tmp_path, suffix):
    extension = member("pax", b"15 size=-00512\n", kind=tarfile.XHDTYPE)
    good, bad = outcome(written(tmp_path / f"x{suffix}", member("a.png", b"first"), extension, member("b.png")))
    assert good == {"a.png": b"first"}
    assert len(bad) == 1


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_extensions_without_end_are_damage(tmp_path, suffix):
    endless = [member("pax", b"10 path=a\n", kind=tarfile.XHDTYPE)] * 2000
    good, bad = outcome(written(tmp_path / f"x{suffix}", member("a.png", b"first"), *endless))
    assert good == {"a.png": b"first"}
    assert "ends early or is damaged" in bad[0]


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_flipped_bytes_cost_a_reason_at_most(tmp_path, suffix):
    draw = random.Random(0)
    extension = member("pax", b"22 GNU.sparse.map=0,1\n", kind=tarfile.XHDTYPE)
    whole = (
        member("a.png", b"first")
        + extension
        + member("b.png", b"second")
        + member("c.png", kind=tarfile.GNUTYPE_SPARSE)
    )
    for _ in range(150):
        data = bytearray(whole + b"\0" * 2 * BLOCK)
        for _ in range(3):
            start = draw.choice([0, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK, 6 * BLOCK])
            data[start + draw.randrange(BLOCK)] = draw.randrange(256)
            header = data[start : start + BLOCK]
            data[start + 148 : start + 156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data if suffix == ".tar" else gzip.compress(data, 1))
        with suppress(ArtifactFault):  # the first header may be the damaged one
            outcome(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_an_extension_of_any_size_takes_no_memory(tmp_path, monkeypatch, kind):
    """Compressed, the gigabytes that it asks for are a thousandth of that."""
    endless = member("name", size=8 * 2**30, kind=kind) + b"a" * 2**21
    path = written(tmp_path / "x.tgz", member("a.png", b"first"), endless)
    read = []
    whole = tarfile._Stream.read
    monkeypatch.setattr(tarfile._Stream, "read", lambda stream, size: read.append(size) or whole(stream, size))
    good, bad = outcome(path)
    assert good == {"a.png": b"first"}
    assert bad == [
        "the archive ends early or is damaged: a header of 8589934592 bytes is too large: at most 1048576 are read"
    ]
    assert max(read) < 2**20


def test_the_map_of_a_sparse_file_is_not_read(tmp_path):
    """Each of its blocks may announce another, so that it never ends."""
    old = member("b.png", kind=tarfile.GNUTYPE_SPARSE)
    pax = member("pax", b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n", kind=tarfile.XHDTYPE)
    for sparse in (old, pax + member("b.png", b"1000000000000\n" + b"1\n" * 5000)):
        good, bad = outcome(written(tmp_path / "x.tgz", member("a.png", b"first"), sparse))
        assert good == {"a.png": b"first"}
        assert bad == ["the archive ends early or is damaged: it holds a sparse file"]
