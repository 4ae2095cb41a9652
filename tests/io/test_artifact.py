"""A folder is whole or absent, wherever it is written; finished work is never thrown away."""

import json

from contextlib import nullcontext
from pathlib import Path

import pytest

from space_cli.cli.outputs import output
from space_cli.cli.workspace import require
from space_cli.core.errors import EnvironmentFault, UsageFault
from space_cli.core.recipe import IndexRequest
from space_cli.core.records import PoolManifest
from space_cli.io import artifact
from space_cli.io.artifact import new_artifact, open_artifact
from space_cli.io.places import real_place, settle, sole_writer


def make(folder, content="content", *, overwrite=False):
    with new_artifact(folder, "request", overwrite=overwrite) as draft:
        resumed = draft.resumed
        (draft.path / "items").write_text(content)
        record = PoolManifest(
            **{"space_version": "0", "seed": 0, "inputs": [], "images": 1, "errors": 0, "width": 4},
            files=draft.files(),
            run=draft.run(),
            request=IndexRequest(sources=("a",), encoder="b"),
            encoder_sha256="0",
        )
        draft.finish(record)
    return resumed


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".") and path.suffix != ".lock")


def test_a_link_to_another_disk_is_followed_and_stays(tmp_path):
    (tmp_path / "disk" / "there").mkdir(parents=True)
    for link, target in (("full", "there"), ("dangling", "new")):
        place = tmp_path / link
        place.symlink_to(tmp_path / "disk" / target)
        make(place, overwrite=True)
        make(place, "again", overwrite=True)
        assert place.is_symlink()
        open_artifact(place, "pool")
        assert (tmp_path / "disk" / target / "items").read_text() == "again"
    assert hidden(tmp_path / "disk") == []
    with pytest.raises(UsageFault, match="exists already"):
        make(tmp_path / "dangling")


def test_what_no_folder_can_replace_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "to file").symlink_to(tmp_path / "file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused = {"file": "is a file", "to file": "is a file", "loop": "leads nowhere", "/": "a disk is mounted"}
    for name, why in refused.items():
        with pytest.raises(UsageFault, match=why), new_artifact(tmp_path / name, "request", overwrite=True):
            pytest.fail("the work began")
    assert (tmp_path / "file").read_text() == "mine"
    assert hidden(tmp_path) == []
    assert real_place(tmp_path / "none") == tmp_path / "none"


@pytest.mark.parametrize("there", [True, False])
def test_work_that_cannot_be_put_in_its_place_is_kept_and_found_again(tmp_path, monkeypatch, there):
    place = tmp_path / "pool"
    if there:
        make(place, "old")
    rename = Path.rename

    def busy(self, target):
        if self.name == ".pool.partial":
            raise OSError(16, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(EnvironmentFault, match=r"busy; the finished folder is kept as `.*\.pool\.partial`"):
        make(place, "new", overwrite=True)
    assert hidden(tmp_path) == [".pool.partial"]
    assert (tmp_path / ".pool.partial" / "items").read_text() == "new"
    assert json.loads((tmp_path / ".pool.partial" / "space.json").read_text())["kind"] == "pool"
    assert place.exists() == there
    if there:
        assert (place / "items").read_text() == "old"
    monkeypatch.undo()
    assert make(place, "new", overwrite=True) is True
    open_artifact(place, "pool")
    assert [path.name for path in place.iterdir() if path.name == "request.json"] == []


def test_a_kill_while_the_record_is_written_leaves_nothing_that_the_next_run_records(tmp_path):
    partial = tmp_path / ".pool.partial"
    (partial / "space").mkdir(parents=True)
    for name in ("request.json", "space.json.tmp", "space/ledger.jsonl.tmp"):
        (partial / name).write_text("request")
    assert make(tmp_path / "pool") is True
    assert [entry.path for entry in open_artifact(tmp_path / "pool", "pool").files] == ["items"]


@pytest.mark.parametrize("left", ["file", "link"])
def test_what_was_left_and_cannot_be_removed_is_named(tmp_path, left):
    partial = tmp_path / ".pool.partial"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "request.json").write_text("request")
    partial.symlink_to("elsewhere") if left == "link" else partial.write_text("x")
    with pytest.raises(EnvironmentFault, match=r"\.pool\.partial` was left by an earlier run and cannot be removed"):
        make(tmp_path / "pool")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["request.json"]
    assert not (tmp_path / "pool").exists()


class Killed(BaseException):
    """In place of SIGKILL: nothing that is written for errors may be needed afterwards."""


def killed_at(monkeypatch, moves):
    """Kill a replacement once so many of its moves are made."""
    rename, made = Path.rename, []

    def counted(self, target):
        if len(made) == moves:
            raise Killed
        made.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)
    write, seen = artifact.write_text, []

    def dead(path, text):
        if path in seen:
            raise Killed  # a killed run writes no note again
        seen.append(path)
        write(path, text)

    monkeypatch.setattr(artifact, "write_text", dead)


@pytest.mark.parametrize("moves", [0, 1, 2])
@pytest.mark.parametrize("how", ["settle", "output", "require", "overwrite"])
def test_a_kill_while_a_folder_is_replaced_loses_nothing(tmp_path, monkeypatch, moves, how):
    place = tmp_path / "pool"
    make(place, "old")
    with monkeypatch.context() as patch:
        killed_at(patch, moves)
        with pytest.raises(Killed):
            make(place, "new", overwrite=True)
    if how == "overwrite":
        make(place, "newer", overwrite=True)
    elif how == "require":
        require(place, "pool")
    else:
        settle(place) if how == "settle" else output(place, place)
    open_artifact(place, "pool")
    assert (place / "items").read_text() == ("newer" if how == "overwrite" else "new")
    assert hidden(tmp_path) in ([], [".pool.old"])  # whole, where the kill came after the last move
    settle(place)
    make(place, "last", overwrite=True)
    assert hidden(tmp_path) == []


def test_what_was_retired_comes_back_where_nothing_is_there_to_replace_it(tmp_path):
    place = tmp_path / "pool"
    make(place, "old")
    place.rename(tmp_path / ".pool.old")
    (tmp_path / ".pool.partial").mkdir()
    (tmp_path / ".pool.partial" / "request.json").write_text("request")
    settle(place)
    assert (open_artifact(place, "pool").kind, hidden(tmp_path)) == ("pool", [".pool.partial"])


@pytest.mark.parametrize("there", ["foreign", "locked", "link"])
def test_a_finished_draft_takes_the_place_of_nothing_that_it_may_not(tmp_path, there):
    place, draft = tmp_path / "pool", tmp_path / ".pool.partial"
    make(tmp_path / "made", "new")
    (tmp_path / "made").rename(draft if there != "link" else tmp_path / "elsewhere")
    if there == "link":
        draft.symlink_to("elsewhere")
    if there == "foreign":
        place.mkdir()
        (place / "mine").write_text("mine")
    with sole_writer(place) if there == "locked" else nullcontext():
        settle(place)
    assert draft.exists()
    assert place.exists() == (there == "foreign")
