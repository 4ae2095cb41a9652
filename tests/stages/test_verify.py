"""Verify finds every kind of tampering, wherever in the chain, and nothing in a chain that is whole."""

import random
import shutil

from pathlib import Path

import pytest
import torch

from erased_folder import (
    FIRST,
    PARAMETERS,
    SECOND,
    make_anchors,
    make_base,
    make_edits,
    make_erased,
    make_pool,
)
from safetensors.torch import load_file, save_file

from space_cli.core.errors import ArtifactFault
from space_cli.core.recipe import Concept
from space_cli.core.records import ErasureReceipt, FileRecord, Source
from space_cli.core.types import Edit
from space_cli.io.artifact import digest_file, file_records, read_record, source_of
from space_cli.io.edits import EDITS, write_edits
from space_cli.stages.verify import Check, verify


@pytest.fixture(params=[torch.float16, torch.bfloat16, torch.float32], ids=str)
def chain(request, tmp_path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"png")
    pool = make_pool(tmp_path / "pool", tmp_path / "images")
    anchors = make_anchors(tmp_path / "anchors", pool)
    base = make_base(tmp_path / "base", request.param)
    make_erased(tmp_path / "erased", base, edits=make_edits(), inputs=[source_of(anchors, "anchors")], link=False)
    return tmp_path


@pytest.fixture
def half(tmp_path) -> Path:
    make_erased(tmp_path / "erased", make_base(tmp_path / "base", torch.float16), edits=make_edits(), link=False)
    return tmp_path


def failed(folder: Path) -> dict[str, str]:
    """What fails beside the ledger, which finds most of this by itself (tests/stages/test_verify_ledger.py)."""
    return {
        check.name: check.detail
        for check in verify(folder)
        if not check.passed and "ledger" not in check.name.split(":")
    }


def forge(folder: Path, **changes: object) -> None:
    """Rewrite the record so that the folder's own digests agree again."""
    record = read_record(folder)
    assert isinstance(record, ErasureReceipt)
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    forged = record.model_copy(update={"files": files, **changes})
    (folder / "space.json").write_text(forged.model_dump_json())


def test_a_whole_chain_passes(chain):
    checks = verify(chain / "erased")
    assert [check for check in checks if not check.passed] == []
    names = {check.name for check in checks}
    assert {f"file {FIRST}", f"file {EDITS}", "input anchors", "anchors: input pool"} <= names
    assert {"anchors: pool: input images", "anchors: pool: file items.parquet", "input checkpoint"} <= names
    assert {"base files", "untouched parameters", "edited parameters", "files that are no weights"} <= names
    assert {"ledger", "ledger: what it carries", "ledger: base"} <= names
    assert Check("edited parameters", True, "2 parameters equal base plus edit, rounded once") in checks


def test_a_base_with_hidden_files_of_a_clone_gives_an_erasure_that_verifies(tmp_path):
    base = make_base(tmp_path / "base", torch.float16)
    (base / ".gitattributes").write_text("*.safetensors filter=lfs")
    assert not failed(make_erased(tmp_path / "erased", base, edits=make_edits()))


def test_any_folder_kind_is_checked(chain):
    assert not failed(chain / "pool")
    assert not failed(chain / "anchors")
    (chain / "pool" / "items.parquet").write_bytes(b"other")
    assert set(failed(chain / "pool")) == {"file items.parquet"}
    assert set(failed(chain / "anchors")) == {"pool: file items.parquet"}
    assert set(failed(chain / "erased")) == {"anchors: pool: file items.parquet"}


def test_a_folder_without_record_is_refused(chain):
    with pytest.raises(ArtifactFault, match=r"holds no space\.json"):
        verify(chain / "base")


@pytest.mark.parametrize("round_", range(20))
@pytest.mark.parametrize("link", [True, False])
def test_one_flipped_bit_is_found(tmp_path, round_, link):
    dice = random.Random(round_)
    base = make_base(tmp_path / "base", dice.choice([torch.float16, torch.bfloat16]))
    erased = make_erased(tmp_path / "erased", base, edits=make_edits(), link=link)
    name = dice.choice([FIRST, SECOND])
    raw = bytearray((erased / name).read_bytes())
    raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    (erased / name).write_bytes(raw)
    assert f"file {name}" in failed(erased)


def test_a_bit_flipped_under_a_forged_record_is_found(half):
    path = half / "erased" / FIRST
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    forge(half / "erased")
    assert failed(half / "erased") == {"untouched parameters": "not as recorded: embed.weight"}


def test_an_edit_that_is_not_the_recorded_one_is_found(half):
    write_edits(half / "erased" / EDITS, [make_edits()[0], make_edits(1.01)[1]])
    forge(half / "erased")
    assert failed(half / "erased") == {"edited parameters": "not as recorded: layers.1.down.weight"}


def test_an_edit_of_another_shape_is_found(half):
    write_edits(half / "erased" / EDITS, [make_edits()[0], Edit("model.layers.1.down", dense=torch.ones(2, 2))])
    forge(half / "erased")
    assert set(failed(half / "erased")) == {"edited parameters"}


def test_edits_of_other_layers_are_found(half):
    write_edits(half / "erased" / EDITS, make_edits()[:1])
    forge(half / "erased")
    assert "do not name the same layers: model.layers.1.down" in failed(half / "erased")["base comparison"]


def test_a_change_of_a_parameter_nobody_listed_is_found(half):
    layers = read_record(half / "erased").layers[:1]
    write_edits(half / "erased" / EDITS, make_edits()[:1])
    forge(half / "erased", layers=layers)
    assert failed(half / "erased") == {"untouched parameters": "not as recorded: layers.1.down.weight"}


def test_another_key_set_is_found(half):
    path = half / "erased" / SECOND
    tensors = load_file(path)
    tensors["backdoor.weight"] = torch.ones(2, 2)
    tensors[PARAMETERS["model.layers.0.down"]] = tensors[PARAMETERS["model.layers.0.down"]].float()
    save_file(tensors, path, metadata={"format": "pt"})
    forge(half / "erased")
    found = failed(half / "erased")
    assert found["parameter names, shapes and dtypes"] == "not as recorded: backdoor.weight, layers.0.down.weight"
    assert found["edited parameters"] == "not as recorded: layers.0.down.weight"


def test_many_differences_are_counted(half):
    path = half / "erased" / SECOND
    tensors = {f"extra.{i}": torch.ones(1) for i in range(5)} | load_file(path)
    save_file(tensors, path, metadata={"format": "pt"})
    forge(half / "erased")
    assert failed(half / "erased")["parameter names, shapes and dtypes"].endswith("extra.2 and 2 more")


def test_negative_zero_is_not_zero(half):
    path = half / "base" / FIRST
    for folder, value in (("base", 0.0), ("erased", -0.0)):
        tensors = load_file(path)
        tensors["embed.weight"][0, 0] = value
        save_file(tensors, half / folder / FIRST, metadata={"format": "pt"})
    forge(
        half / "erased",
        base_files=file_records(half / "base"),
        inputs=[source_of(half / "base", "checkpoint")],
    )
    assert set(failed(half / "erased")) == {"untouched parameters"}


def test_a_changed_side_file_is_found(half):
    (half / "erased" / "README.md").write_text("another")
    forge(half / "erased")
    assert failed(half / "erased") == {"files that are no weights": "not as recorded: README.md"}


@pytest.mark.parametrize("name", ["modeling_llava.py", "space/state.bin", ".hidden", "sub/x.txt"])
def test_an_added_file_is_found(half, name):
    (half / "erased" / name).parent.mkdir(exist_ok=True)
    (half / "erased" / name).write_text("x")
    assert "it was added later" in failed(half / "erased")[f"file {name}"]


@pytest.mark.parametrize("target", ["base", "nowhere"])
def test_an_added_link_is_found(half, target):
    (half / "erased" / "link").symlink_to(half / target)
    assert "file link" in failed(half / "erased")


def test_a_removed_file_is_found(half):
    (half / "erased" / EDITS).unlink()
    found = failed(half / "erased")
    assert set(found) == {f"file {EDITS}", "base comparison"}
    assert "is missing" in found[f"file {EDITS}"]


def test_a_corrupt_shard_fails_instead_of_raising(half):
    path = half / "erased" / SECOND
    path.write_bytes(path.read_bytes()[:-3])
    assert set(failed(half / "erased")) == {f"file {SECOND}", "base comparison"}


def test_an_altered_base_is_found(half):
    tensors = load_file(half / "base" / FIRST)
    tensors["embed.weight"][0, 0] += 1
    save_file(tensors, half / "base" / FIRST, metadata={"format": "pt"})
    found = failed(half / "erased")
    assert set(found) == {"input checkpoint", "base files", "untouched parameters"}
    assert "was altered" in found["input checkpoint"]


def test_a_missing_base_is_a_failed_check_and_no_more(half):
    shutil.rmtree(half / "base")
    found = failed(half / "erased")
    assert set(found) == {"input checkpoint"}
    assert "cannot be found" in found["input checkpoint"]


def test_a_receipt_without_base_fails(half):
    forge(half / "erased", inputs=[])
    assert set(failed(half / "erased")) == {"base"}


def test_a_missing_and_an_altered_input(chain):
    (chain / "images" / "b.png").write_bytes(b"more")
    shutil.rmtree(chain / "base")
    found = failed(chain / "erased")
    assert set(found) == {"input checkpoint", "anchors: pool: input images"}
    assert "was altered" in found["anchors: pool: input images"]


def test_an_input_with_a_broken_record(chain):
    (chain / "pool" / "space.json").write_text("{")
    assert set(failed(chain / "anchors")) == {"input pool", "pool: record"}


def test_a_file_as_input_and_a_shared_input_are_read_once(half, monkeypatch):
    (half / "images.tar").write_bytes(b"tar")
    archive = Source(kind="images", path=str(half / "images.tar"), sha256=digest_file(half / "images.tar"))
    base = source_of(half / "base", "checkpoint")
    request = read_record(half / "erased").request.model_copy(update={"forget_images": archive.path})
    forge(half / "erased", inputs=[archive, base, base], request=request)
    read: list[Path] = []

    def counted(folder: Path, kind: str) -> Source:
        read.append(folder)
        return source_of(folder, kind)

    monkeypatch.setattr("space_cli.stages.verify.source_of", counted)
    assert not failed(half / "erased")
    assert read == [half / "images.tar", half / "base"]
    (half / "images.tar").write_bytes(b"rat")
    assert set(failed(half / "erased")) == {"input images"}


def test_folders_that_name_each_other_end(chain):
    pool = read_record(chain / "pool")
    source = Source(kind="anchors", path=str(chain / "anchors"), sha256="0")
    (chain / "pool" / "space.json").write_text(pool.model_copy(update={"inputs": [source]}).model_dump_json())
    assert set(failed(chain / "anchors")) == {"input pool", "pool: input anchors"}


def test_an_erasure_of_an_erasure(half):
    owl = Concept(name="owl")
    twice = make_erased(half / "twice", half / "erased", edits=make_edits(0.5), concept=owl)
    checks = verify(twice)
    assert [check for check in checks if not check.passed] == []
    assert "checkpoint: edited parameters" in {check.name for check in checks}
    assert not (twice / "space" / "recipe.toml").exists()
    tensors = load_file(half / "base" / FIRST)
    save_file({**tensors, "embed.weight": tensors["embed.weight"] + 1}, half / "base" / FIRST)
    assert {"checkpoint: base files", "checkpoint: untouched parameters"} <= set(failed(twice))


def test_a_record_that_lists_nothing_lists_every_file_as_added(half):
    forge(half / "erased", files=[FileRecord(path="config.json", sha256="0", bytes=1)])
    found = failed(half / "erased")
    assert {"file config.json", f"file {FIRST}", f"file {SECOND}", f"file {EDITS}", "file README.md"} <= set(found)
