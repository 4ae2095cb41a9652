"""However many folders lie between a folder and what everything was made from, the walk back reaches it."""

import shutil

from erased_folder import make_anchors, make_pool

from space_cli.io.artifact import read_record, source_of
from space_cli.stages.verify import verify

LONG = 400
"""Python gives up at a thousand calls inside each other."""


def test_a_chain_that_is_longer_than_python_recurses_is_walked_to_its_end(tmp_path):
    (tmp_path / "images").mkdir()
    folder = make_anchors(tmp_path / "anchors", make_pool(tmp_path / "pool", tmp_path / "images"))
    for number in range(LONG):
        record = read_record(folder).model_copy(update={"inputs": [source_of(folder, "anchors")]})
        folder = shutil.copytree(folder, tmp_path / str(number))
        (folder / "space.json").write_text(record.model_dump_json())
    assert all(check.passed for check in verify(folder))
    (tmp_path / "images" / "more.png").write_bytes(b"more")
    assert [check.name for check in verify(folder) if not check.passed] == ["anchors: " * LONG + "pool: input images"]
