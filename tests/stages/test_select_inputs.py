"""A selection names the pool that it read, whatever became of that meanwhile."""

import pytest

from space_cli.core.protocols import Silent
from space_cli.core.recipe import Concept, SelectRequest
from space_cli.io.artifact import source_of
from space_cli.stages import select as stage
from tests.encoders.tiny_encoders import clip_folder
from tests.stages.indexing import fill, pictures, run


@pytest.mark.parametrize("changed", [False, True])
def test_the_pool_is_digested_before_it_is_looked_at(tmp_path, monkeypatch, changed):
    pool = tmp_path / "pool"
    run(fill(tmp_path / "in", pictures(9)), clip_folder(tmp_path / "encoder"), pool)
    before, written = source_of(pool, "pool"), stage.write_anchors

    def changing(folder, anchors):
        if changed:
            (pool / "space.json").write_text((pool / "space.json").read_text() + "\n")
        written(folder, anchors)

    monkeypatch.setattr(stage, "write_anchors", changing)
    sizes = {"anchors": 2, "holdout": 1, "neighbours": 1, "general": 1, "min_anchors": 1, "floor": -1.0}
    request = SelectRequest(concept=Concept(name="owl"), pool=str(pool), **sizes)
    assert stage.select(request, tmp_path / "anchors", progress=Silent()).inputs == [before]
    assert (source_of(pool, "pool") == before) is not changed
