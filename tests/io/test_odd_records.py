"""What lies in the place of a record or of a folder is told as what it is."""

import os

import pytest

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.io.artifact import RECORD_NAME, new_artifact, read_record


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kind": []}', "has the unknown kind"),
        ('{"kind": {"a": 1}}', "has the unknown kind"),
        ("{}", "has the unknown kind"),
        ("[" * 200_000, "is not a JSON object"),
        ('{"a":' * 200_000, "is not a JSON object"),
        ("3", "is not a JSON object"),
        ('{"kind": "audit", "schema_version": 2}', "does not fit its schema: schema_version"),
        ('{"kind": "pool", "inputs": ' + "[" * 300 + "]" * 300 + "}", "does not fit its schema"),
    ],
)
def test_a_record_of_other_values_is_refused(tmp_path, text, said):
    (tmp_path / RECORD_NAME).write_text(text)
    with pytest.raises(ArtifactFault, match=said):
        read_record(tmp_path)


def test_what_is_no_file_is_no_record(tmp_path):
    place = tmp_path / RECORD_NAME
    place.mkdir()
    with pytest.raises(ArtifactFault, match="something else lies in its place"):
        read_record(tmp_path)
    place.rmdir()
    os.mkfifo(place)
    with pytest.raises(ArtifactFault, match="something else lies in its place"):
        read_record(tmp_path)
    place.unlink()
    place.symlink_to(RECORD_NAME)
    with pytest.raises(ArtifactFault, match="missing or incomplete"):
        read_record(tmp_path)
    with pytest.raises(ArtifactFault, match="missing or incomplete"):
        read_record(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("out", "said"), [("file", "is a file"), ("file/x", "lies inside `.*file`"), ("file/x/y", "lies inside `.*file`")]
)
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path, out, said):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageFault, match=said), new_artifact(tmp_path / out, "{}", overwrite=True):
        pass
    assert (tmp_path / "file").read_text() == "mine"
