import os
import re
import shlex
import tomllib

import pytest
import typer

from benchmarks.datasets import __main__ as command
from benchmarks.datasets import open_dataset
from benchmarks.datasets._laying import Sizes, commands, prepare
from space_cli.cli.app import app
from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.io.probe import open_notes
from space_cli.io.probe_images import probe_images
from tests.benchmarks.made_sets import celebrities, folder, imagenet, photo, stanford_dogs


def prepared_dogs(tmp_path, **sizes):
    stanford_dogs(tmp_path / "data")
    found = open_dataset("stanford-dogs", tmp_path / "data")
    return prepare(found, "afghan hound", tmp_path / "work", sizes=Sizes(**sizes))


def test_the_pool_leaves_the_concept_out_and_tells_no_name(tmp_path):
    done = prepared_dogs(tmp_path, pool=2, probe=1)
    pool = sorted((done.folder / "pool").iterdir())
    source = sorted((tmp_path / "data" / "Images" / "n02085620-Chihuahua").iterdir())
    assert [path.name for path in pool] == ["000000.jpg", "000001.jpg"]
    assert [os.path.samefile(*pair) for pair in zip(pool, source, strict=False)] == [True, True]
    assert len(list((done.folder / "forget").iterdir())) == 3
    assert not any(path.is_symlink() for path in done.folder.rglob("*"))


def test_the_probe_is_what_the_audit_reads(tmp_path):
    done = prepared_dogs(tmp_path)
    shown = {image.name for image in probe_images(done.folder / "probe", limit=None)}
    assert shown == {"Afghan hound", "Chihuahua"}
    notes = open_notes(done.folder / "probe")
    assert notes["Afghan hound"].phrase == "an Afghan hound"
    assert notes["Chihuahua"].kind == "dog"


def test_files_are_copied_where_no_link_can_be_made(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    done = prepared_dogs(tmp_path)
    assert all(path.stat().st_nlink == 1 for path in (done.folder / "pool").iterdir())
    assert len(list((done.folder / "pool").iterdir())) == 3


def test_an_existing_folder_is_not_touched(tmp_path):
    prepared_dogs(tmp_path)
    with pytest.raises(UsageFault, match="exists already"):
        prepare(open_dataset("stanford-dogs", tmp_path / "data"), "Chihuahua", tmp_path / "work", sizes=Sizes())


def test_more_can_be_left_out_until_nothing_is_left(tmp_path):
    folder(tmp_path / "data")
    found = open_dataset("folder", tmp_path / "data")
    with pytest.raises(ArtifactFault, match="the pool is empty"):
        prepare(found, "owl", tmp_path / "work", sizes=Sizes(), leave_out=["grand piano"])
    photo(tmp_path / "data" / "fox" / "1.jpg")
    with pytest.raises(ArtifactFault, match="no photograph to test `fox`"):
        prepare(open_dataset("folder", tmp_path / "data"), "fox", tmp_path / "work", sizes=Sizes())


def test_the_printed_commands_are_commands_of_space(tmp_path):
    known = typer.main.get_command(app).commands
    done = prepared_dogs(tmp_path)
    lines = [shlex.split(line) for line in commands(done, model="./llava", encoder="./clip")]
    assert [line[1] for line in lines] == ["index", "select", "erase", "audit"]
    assert "an Afghan hound" in lines[1]
    for line in lines:
        options = {spelling for parameter in known[line[1]].params for spelling in parameter.opts}
        assert {word for word in line if re.match(r"--[a-z]", word)} <= options
        known[line[1]].make_context(line[1], line[2:])


def test_the_command_line(tmp_path, capsys):
    celebrities(tmp_path / "data")
    data = ["celebrities", "--data", str(tmp_path / "data")]
    assert command.main(data) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Donald Trump\tperson\t1\t2",
        "Hello Kitty\tcartoon character\t1\t2",
    ]
    work = ["--concept", "donald trump", "--out", str(tmp_path / "work")]
    assert command.main([*data, *work]) == 0
    out, told = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert told.startswith("1 photographs in the pool, none listed as `Donald Trump`")
    assert command.main([*data, *work]) == UsageFault.exit_code
    assert "hint: " in capsys.readouterr().err


def test_notes_are_toml(tmp_path):
    imagenet(tmp_path / "data")
    prepare(open_dataset("imagenet", tmp_path / "data"), "crane", tmp_path / "work", sizes=Sizes())
    notes = tomllib.loads((tmp_path / "work" / "probe" / "concepts.toml").read_text())
    assert notes["tench"] == {"phrase": "a tench", "aliases": ["Tinca tinca"]}
