import json

from pathlib import Path

import numpy as np
import pytest

from PIL import Image

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.recipe import Concept, IndexRequest, SelectRequest
from space_cli.core.records import AnchorsManifest, PoolManifest, Pseudonymized, Source
from space_cli.core.types import Anchor, Item
from space_cli.io.anchors import write_anchors
from space_cli.io.artifact import digest_file, new_artifact, source_of
from space_cli.io.pool import Embedded, write_pool
from space_cli.io.probe import at_hand, open_material, open_notes, open_training, with_encoder
from tests.io.receipts import make_receipt

FACTS = {"space_version": "0", "seed": 0}


@pytest.fixture
def receipt(tmp_path):
    """Ten images; the first two are forget anchors, the third is held out, the last is unlike all of them."""
    items = [paint(tmp_path / "images", row) for row in range(10)]
    angles = np.linspace(0, np.pi, 10)
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    with new_artifact(tmp_path / "pool", "pool", overwrite=False) as draft:
        write_pool(draft.path, Embedded(items, embeddings), [], shard_size=4)
        draft.finish(
            PoolManifest(
                **FACTS,
                inputs=[],
                files=draft.files(),
                run=draft.run(),
                request=IndexRequest(sources=("x",), encoder="e"),
                images=10,
                errors=0,
                width=2,
                encoder_sha256="0",
            )
        )
    roles = ["forget", "forget", "holdout", "neighbour", "general"]
    anchors = [Anchor(item, role, 0.5, None) for item, role in zip(items[:4] + items[8:9], roles, strict=True)]
    with new_artifact(tmp_path / "anchors", "anchors", overwrite=False) as draft:
        write_anchors(draft.path, anchors)
        draft.finish(
            AnchorsManifest(
                **FACTS,
                inputs=[source_of(tmp_path / "pool", "pool")],
                files=draft.files(),
                run=draft.run(),
                request=SelectRequest(concept=Concept(name="panda"), pool="pool"),
                floor=0.2,
                top_similarity=0.3,
                roles={},
                leaks=0,
                activation_rate=None,
                activation_reference=None,
                leverage=[],
            )
        )
    return make_receipt([source_of(tmp_path / "anchors", "anchors")])


def paint(folder, row):
    folder.mkdir(exist_ok=True)
    path = folder / f"{row}.png"
    Image.new("RGB", (20, 20), (row * 20, 0, 0)).save(path)
    return Item(digest_file(path), str(folder), path.name, 20, 20)


def reds(images):
    return [image.getpixel((0, 0))[0] // 20 for image in images]


def test_material_is_held_out_or_far_and_never_an_anchor(receipt):
    material = open_material(receipt, seed=1)
    assert reds(material.holdout) == [2]
    assert reds(material.used) == [0, 1]
    assert material.pool.images == 10
    assert not material.missing
    # The half that is less like the forget anchors is 5 to 9, and 8 is a general anchor.
    assert sorted(reds(material.general)) == [5, 6, 7, 9]


def test_material_is_the_same_for_the_same_seed(receipt):
    assert reds(open_material(receipt, seed=1).general) == reds(open_material(receipt, seed=1).general)


def test_a_pseudonymized_copy_finds_its_withheld_anchors_where_they_still_are(receipt):
    withheld = Pseudonymized(key_id="0", withheld=receipt.inputs)
    material = open_material(receipt.model_copy(update={"inputs": [], "pseudonymized": withheld}), seed=1)
    assert reds(material.holdout) == [2]
    assert reds(material.used) == [0, 1]


def test_anchors_made_anew_are_not_used(receipt, tmp_path):
    (tmp_path / "anchors" / "space.json").write_text("{}")
    material = open_material(receipt, seed=1)
    assert (material.holdout, material.general, material.pool) == ([], [], None)
    assert "made anew" in material.missing


def test_a_pool_that_is_gone_leaves_the_held_out_anchors(receipt, tmp_path):
    (tmp_path / "pool").rename(tmp_path / "elsewhere")
    material = open_material(receipt, seed=1)
    assert reds(material.holdout) == [2]
    assert material.general == []
    assert "is gone" in material.missing


def test_anchors_and_pool_are_found_where_the_reader_has_them(receipt, tmp_path):
    whole = open_material(receipt, seed=1)
    places = {kind: str(tmp_path / "moved" / kind) for kind in ("anchors", "pool")}
    (tmp_path / "moved").mkdir()
    for kind, place in places.items():
        (tmp_path / kind).rename(place)
    assert "is gone" in open_material(receipt, seed=1).missing
    found = open_material(receipt, seed=1, places=places)
    assert (reds(found.holdout), reds(found.general)) == (reds(whole.holdout), reds(whole.general))
    assert found.pool == whole.pool
    # What lies there must be what was used.
    (Path(places["pool"]) / "space.json").write_text("{}")
    assert "made anew" in open_material(receipt, seed=1, places=places).missing


def test_a_place_is_used_only_where_the_recorded_one_leads_nowhere(tmp_path):
    here, other = Source(kind="anchors", path=str(tmp_path), sha256="0"), Source(kind="pool", path="/gone", sha256="1")
    places = {"anchors": "/elsewhere", "pool": "/pool"}
    assert at_hand([here, other], places) == [here, other.model_copy(update={"path": "/pool"})]


def test_an_encoder_that_moved_must_be_the_one_that_indexed(receipt, tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    manifest = open_material(receipt, seed=1).pool
    known = source_of(tmp_path / "encoder", "encoder").model_copy(update={"path": "/gone"})
    places = {"encoder": str(tmp_path / "encoder")}
    moved = with_encoder(manifest.model_copy(update={"inputs": [known]}), places)
    assert moved.request.encoder == str(tmp_path / "encoder")
    # Images of the concept that moved are no images of the pool, and say nothing of its encoder.
    shown = Source(kind="images", path="/gone too", sha256="1")
    plain = manifest.model_copy(update={"inputs": [known, shown]})
    assert with_encoder(plain, {"images": str(tmp_path)}) is plain
    (tmp_path / "encoder" / "config.json").write_text("{ }")
    with pytest.raises(ArtifactFault, match="made anew"):
        with_encoder(manifest.model_copy(update={"inputs": [known]}), places)


def test_pool_images_that_are_gone_are_said(receipt, tmp_path):
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    assert "gone" in open_material(receipt, seed=1).missing


def test_no_recorded_anchors_are_said():
    material = open_material(make_receipt([Source(kind="checkpoint", path="b", sha256="0")]), seed=0)
    assert "no folder of the kind `anchors`" in material.missing


def test_notes_are_read_and_may_be_absent(tmp_path):
    assert open_notes(tmp_path) == {}
    (tmp_path / "concepts.toml").write_text(
        '["grand piano"]\nphrase = "a grand piano"\nkind = "instrument"\naliases = ["wing"]\nfacts = '
        '[["Where?", "hall"]]\n'
        "[bus]\n"
    )
    notes = open_notes(tmp_path)
    assert notes["grand piano"].facts == (("Where?", "hall"),)
    assert not notes["bus"].phrase


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[panda\n", "not TOML"),
        ("facts = " + "[" * 9999, "not TOML"),
        ("facts = " + "9" * 9999, "not TOML"),
        ('[panda]\ncolour = "black"\n', "colour"),
        ('[panda]\nfacts = [["only a question"]]\n', "facts"),
        ('panda = "an animal"\n', "panda"),
    ],
)
def test_wrong_notes_are_refused(tmp_path, text, said):
    (tmp_path / "concepts.toml").write_text(text)
    with pytest.raises(UsageFault, match=said):
        open_notes(tmp_path)


def test_training_keeps_numbers_and_may_be_absent(tmp_path):
    assert open_training(tmp_path) == []
    path = tmp_path / "space" / "metrics.jsonl"
    path.parent.mkdir()
    rows = [{"step": 1, "loss": 0.5, "phase": "first", "done": True}, {"step": 2, "loss": None}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert open_training(tmp_path) == [{"step": 1.0, "loss": 0.5}, {"step": 2.0}]


ODD = ["{", "[1]", "3", '{"a": "\udcff"}', "[" * 99999, '{"a": ' + "9" * 400 + "}", '{"a": ' + "9" * 9999 + "}"]


@pytest.mark.parametrize("line", ODD, ids=range(len(ODD)))
def test_a_broken_training_record_is_refused(tmp_path, line):
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "metrics.jsonl").write_text(line, errors="surrogateescape")
    with pytest.raises(ArtifactFault, match="line 1"):
        open_training(tmp_path)
