"""The encoder behind a pool: opened only where it is still the one that embedded the images."""

import pytest

from space_cli.core.errors import ArtifactFault
from space_cli.core.recipe import IndexRequest
from space_cli.core.records import PoolManifest
from space_cli.io.artifact import source_of
from space_cli.io.pool_encoder import open_encoder
from tests.encoders.tiny_encoders import clip_folder


@pytest.fixture
def pool(tmp_path):
    folder = clip_folder(tmp_path / "encoder")
    request = IndexRequest(sources=("pool",), encoder=str(folder))
    digest = source_of(folder, "encoder").sha256
    return PoolManifest.model_construct(request=request, encoder_sha256=digest)


def test_the_encoder_of_a_pool_embeds_texts(pool):
    embedded = open_encoder(pool, "cpu").texts(["a panda", "a bus"])
    assert embedded.norm(dim=-1).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_an_encoder_that_was_changed_where_it_lies_is_refused(pool, tmp_path):
    path = tmp_path / "encoder" / "config.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(ArtifactFault, match="not the one that indexed the pool") as caught:
        open_encoder(pool, "cpu")
    assert "--overwrite" in caught.value.hint
