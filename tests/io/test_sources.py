"""Folder, tar and table give the same pictures, and nothing in them can make reading run away."""

import io
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from readable import outcome

from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.io import entry as entry_file
from space_cli.io import sources
from space_cli.io.entry import ImageFault
from space_cli.io.sources import count, entries, reread

FILES = {"a.png": b"first", "deep/b.JPG": b"second", "deep/er/c.webp": b"third"}


def folder(tmp_path, files=FILES):
    root = tmp_path / "images"
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tar(path, files=FILES, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def table(path, columns):
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def read(source):
    return {entry.member: entry.read() for entry in entries(str(source))}


def test_a_folder_is_walked_in_order_and_other_files_are_passed_over(tmp_path):
    root = folder(tmp_path, {**FILES, "notes.txt": b"", ".hidden.png": b"", ".git/d.png": b"", "Z.gif": b"z"})
    assert list(read(root)) == ["Z.gif", "a.png", "deep/b.JPG", "deep/er/c.webp"]
    assert {entry.source for entry in entries(str(root))} == {str(root)}
    assert count(str(root)) == 4


def test_links_are_followed_and_loops_are_not(tmp_path):
    root = folder(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.png").write_bytes(b"fourth")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "deep" / "loop").symlink_to(root)
    (root / "deep" / "loop to all").symlink_to("/")
    (root / "broken.png").symlink_to(root / "absent.png")
    found = {entry.member: entry for entry in entries(str(root))}
    assert found["linked/d.png"].read() == b"fourth"
    assert not any("loop" in member for member in found)
    with pytest.raises(ImageFault, match="cannot be read"):
        found["broken.png"].read()


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("loop", "loop", "Too many levels"),
        ("loop.png", "loop.png", "Too many levels"),
        ("x.tar", "nowhere", "No such file"),
        ("x.parquet", "nowhere", "No such file"),
        ("x.tgz", "/dev/zero", "not a regular file"),
    ],
)
def test_what_cannot_be_looked_at_is_one_picture_that_cannot_be_read(tmp_path, name, target, reason):
    root = folder(tmp_path)
    (root / name).symlink_to(target)
    found = {entry.member: entry for entry in entries(str(root))}
    assert found.keys() == {*FILES, name}
    assert count(str(root)) == len(FILES) + 1
    with pytest.raises(ImageFault, match=reason):
        found[name].read()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    [entry] = entries(str(tmp_path))
    with pytest.raises(ImageFault, match="not a regular file"):
        entry.read()


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz")])
def test_a_tar_gives_what_the_folder_gives(tmp_path, suffix, mode):
    path = tar(tmp_path / f"x{suffix}", {**FILES, "a.json": b"{}", "../../up.png": b"up"}, mode)
    assert read(path) == {**FILES, "../../up.png": b"up"}
    assert count(str(path)) == (4 if suffix == ".tar" else None)
    assert not (tmp_path.parent.parent / "up.png").exists()


def test_entries_may_be_read_later_and_out_of_order(tmp_path):
    found = list(entries(str(tar(tmp_path / "x.tar"))))
    assert [entry.read() for entry in reversed(found)] == [b"third", b"second", b"first"]


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_a_huge_member_is_refused_unread(tmp_path, monkeypatch, suffix, mode):
    monkeypatch.setattr("space_cli.io.entry.MAX_MEMBER", 5)
    found = {entry.member: entry for entry in entries(str(tar(tmp_path / f"x{suffix}", mode=mode)))}
    assert found["a.png"].read() == b"first"
    with pytest.raises(ImageFault, match="6 bytes are too many: at most 5"):
        found["deep/b.JPG"].read()


def test_a_huge_file_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("space_cli.io.entry.MAX_MEMBER", 5)
    with pytest.raises(ImageFault, match="too many"):
        read(folder(tmp_path))


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_a_tar_cut_short_gives_its_beginning_and_a_reason(tmp_path, suffix, mode):
    files = {f"{number}.png": os.urandom(5000) for number in range(4)}
    path = tar(tmp_path / f"x{suffix}", files, mode)
    path.write_bytes(path.read_bytes()[:13_000])
    good, bad = outcome(path)
    assert good == {name: files[name] for name in ("0.png", "1.png")}
    assert bad
    assert any("ends early" in reason for reason in bad)


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.parquet"])
@pytest.mark.parametrize("data", [b"", b"no such thing" * 100])
def test_what_cannot_be_opened_is_an_artifact_fault(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactFault, match="not a readable"):
        list(entries(str(tmp_path / name)))


def test_what_is_no_source_is_a_usage_fault(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"")
    for name, reason in (("absent", "does not exist"), ("x.zip", "is not a folder")):
        for use in (lambda path: list(entries(path)), count):
            with pytest.raises(UsageFault, match=reason):
                use(str(tmp_path / name))


def test_a_folder_that_may_not_be_read_is_an_environment_fault(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(EnvironmentFault, match="may not be read: Permission denied"):
        list(entries(str(tmp_path)))


PICTURES = list(FILES.values())


@pytest.mark.parametrize(
    "columns",
    [
        {"image": PICTURES, "label": [1, 2, 3]},
        {"image": [{"bytes": data, "path": None} for data in PICTURES]},
        {"jpg": PICTURES, "other": [b"x", b"y", b"z"]},
        {"anything": pa.array(PICTURES, pa.large_binary())},
    ],
)
def test_a_table_gives_its_one_image_column(tmp_path, columns):
    path = table(tmp_path / "x.parquet", columns)
    assert read(path) == {"0": b"first", "1": b"second", "2": b"third"}
    assert count(str(path)) == 3
    assert dict(reread(str(path), ["2", "0", "9"])) == {"0": b"first", "2": b"third"}


def test_a_table_without_one_clear_column_is_refused(tmp_path):
    with pytest.raises(ArtifactFault, match="no binary column"):
        read(table(tmp_path / "x.parquet", {"image": ["text"]}))
    with pytest.raises(ArtifactFault, match=r"several binary columns \(one, two\)"):
        read(table(tmp_path / "y.parquet", {"one": [b"1"], "two": [b"2"]}))


def test_rows_without_bytes_have_a_reason(tmp_path):
    rows = [{"bytes": b"first", "path": None}, {"bytes": None, "path": "a.png"}, None]
    found = list(entries(str(table(tmp_path / "x.parquet", {"image": rows}))))
    assert found[0].read() == b"first"
    for entry in found[1:]:
        with pytest.raises(ImageFault, match="no image bytes"):
            entry.read()


def test_archives_in_a_folder_are_opened(tmp_path):
    root = folder(tmp_path, {"a.png": b"loose"})
    tar(root / "00.tar")
    table(root / "01.parquet", {"image": PICTURES})
    found = [(entry.source, entry.member) for entry in entries(str(root))]
    assert [member for source, member in found if source == str(root / "00.tar")] == list(FILES)
    assert len(found) == count(str(root)) == 7
    tar(root / "02.tgz", mode="w:gz")
    assert count(str(root)) is None


def test_rereading_finds_members_again(tmp_path):
    for source in (folder(tmp_path), tar(tmp_path / "x.tar"), tar(tmp_path / "x.tgz", mode="w:gz")):
        found = list(reread(str(source), {"deep/b.JPG", "a.png", "gone.png"}))
        assert found == [("a.png", b"first"), ("deep/b.JPG", b"second")]
    assert list(reread(str(tmp_path / "absent"), {"a.png"})) == []


def test_a_table_that_says_one_large_image_for_every_row_holds_one_at_a_time(tmp_path):
    large, path = b"a" * 2**21, tmp_path / "x.parquet"
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 32, pa.int32()), pa.array([large], pa.binary()))
    pq.write_table(pa.table({"image": rows}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    held, taken = pa.total_allocated_bytes(), []
    for entry in entries(str(path)):
        taken.append(pa.total_allocated_bytes() - held)
        assert entry.read() == large
    assert len(taken) == 32
    assert max(taken) < 8 * len(large)
    assert [row for row, data in reread(str(path), ["3", "30"]) if data == large] == ["3", "30"]


def test_a_row_too_large_for_an_image_is_not_copied(tmp_path, monkeypatch):
    path = table(tmp_path / "x.parquet", {"image": [b"small", b"a" * 5000, b"small"]})
    monkeypatch.setattr(entry_file, "MAX_MEMBER", 1000)
    monkeypatch.setattr(sources, "_row_bytes", lambda data: data if data == b"small" else pytest.fail("it was copied"))
    good, bad = outcome(path)
    assert good == {"0": b"small", "2": b"small"}
    assert "bytes are too many: at most 1000 are read" in bad[0]


def test_a_table_of_more_rows_than_bytes_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": pa.array([b"a"] * 100_000)}), path, compression="zstd")
    with pytest.raises(ArtifactFault, match=r"has 100000 rows in .* bytes: no row of them can be an image"):
        count(str(path))
