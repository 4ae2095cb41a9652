"""A record leads nowhere but into its own folder, and holds nothing that cannot be."""

import pytest

from pydantic import ValidationError

from space_cli.core.records import FileRecord, Run

LEADING_OUT = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../a",
    "a/..",
    "a/../b",
    "a//b",
    "./a",
    "a/",
    "..\\a",
    "a\\b",
    "a\0b",
]


@pytest.mark.parametrize("path", LEADING_OUT)
def test_a_path_that_may_lead_out_of_the_folder_is_refused(path):
    with pytest.raises(ValidationError, match="no path inside the folder"):
        FileRecord(path=path, sha256="0" * 64, bytes=1)


@pytest.mark.parametrize("path", ["a", "space/ledger.jsonl", "..a", "a..", "a b/ü.png", "...", "c:d"])
def test_any_other_name_is_fine(path):
    assert FileRecord(path=path, sha256="0" * 64, bytes=1).path == path


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-1"])
def test_what_no_duration_can_be_is_refused(seconds):
    with pytest.raises(ValidationError, match="seconds"):
        Run.model_validate_json(f'{{"created": "now", "seconds": {seconds}}}')
