"""Erasing with images of the concept, or with an instruction alone: what is written, and what verify and revert say."""

import json
import shutil

from types import SimpleNamespace

import pytest
import subjects

from heard import Heard
from transformers import AutoTokenizer

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import render
from space_cli.core.errors import ArtifactFault, EnvironmentFault, GateRefusal, UsageFault
from space_cli.core.protocols import Silent
from space_cli.core.recipe import EraseRequest
from space_cli.core.types import Anchor, Item
from space_cli.io.artifact import digest_file, file_records, read_record
from space_cli.io.chat_template import refuse_other_changes, write_instruction
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.images import content_hash, readable_images
from space_cli.io.ledger import read_ledger
from space_cli.io.subject import Aim, subject_of
from space_cli.methods import prompt
from space_cli.stages.erase import erase, plan
from space_cli.stages.made_of import refuse_not_made_of
from space_cli.stages.revert import revert
from space_cli.stages.verify import verify

GA = {"method": "ga", "options": {"steps": 2}}
TEMPLATE = "chat_template.jinja"


def draw(folder, symbol, count):
    folder.mkdir(parents=True, exist_ok=True)
    for view in range(count):
        render(symbol, "colour", 4_700_000 + view).save(folder / f"{view}.png")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A copy of the bundled checkpoint, images of the concept, and anchors that are loaded already."""
    shutil.copytree(checkpoint_folder(), tmp_path / "base")
    draw(tmp_path / "owls", find("owl").symbol, 2)
    (tmp_path / "anchors").mkdir()
    (tmp_path / "anchors" / "anchors.parquet").write_bytes(b"anchors")
    concept = subjects.material()[0]

    def opened(folder, anchors, aim, *, device, progress, record, save, saved):
        found = subjects.context(seed=aim.seed, max_change=aim.max_change)
        found.record = record
        found.forget = subjects.bundled().features(aim.images) if aim.images else None
        return found

    manifest = SimpleNamespace(request=SimpleNamespace(concept=concept, model="base"))
    monkeypatch.setattr("space_cli.stages.erase.open_anchors", lambda folder: (manifest, []))
    monkeypatch.setattr("space_cli.stages.erase.open_subject", opened)
    return tmp_path


@pytest.fixture
def told(place):
    """A folder erased by instruction alone."""
    erase(request_for(place, method="prompt"), place / "erased", progress=Silent())
    return place


def request_for(place, **changes):
    wanted = {"concept": subjects.material()[0], "model": str(place / "base"), "anchors": str(place / "anchors")}
    return EraseRequest(**(wanted | changes))


def failed(folder):
    return {check.name for check in verify(folder) if not check.passed and not check.name.startswith("ledger")}


def forge(folder):
    """Rewrite the record so that the folder's own digests agree again."""
    record = read_record(folder)
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    (folder / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())


def test_the_receipt_tells_which_images_were_trained_on(place):
    request = request_for(place, forget_images=str(place / "owls"), **GA)
    receipt = erase(request, place / "erased", progress=Silent())
    assert [source.kind for source in receipt.inputs] == ["checkpoint", "anchors", "images"]
    assert receipt.request.forget_images == receipt.inputs[2].path == str(place / "owls")
    assert len(receipt.layers) == len(subjects.bundled().family.layers("mlp"))
    assert not receipt.instruction
    assert failed(place / "erased") == set()
    (place / "owls" / "0.png").write_bytes(b"another")
    assert failed(place / "erased") == {"input images"}


def test_same_images_same_bytes(place):
    request = request_for(place, forget_images=str(place / "owls"), **GA)
    one, other = (erase(request, place / name, progress=Silent()) for name in ("one", "other"))
    assert one.files == other.files


def test_an_image_that_cannot_be_read_is_named_and_left_out(place):
    (place / "owls" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    heard = Heard()
    erase(request_for(place, forget_images=str(place / "owls"), **GA), place / "erased", progress=heard)
    assert any("broken.png" in note for note in heard.notes)


def test_images_of_which_none_can_be_read_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UsageFault, match="none of its 1 images can be read; `a"):
        readable_images(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(UsageFault, match="holds no image"):
        readable_images(tmp_path)
    with pytest.raises(UsageFault, match="not a folder"):
        readable_images(tmp_path / "nowhere")


@pytest.mark.parametrize("step", [erase, plan])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (GA, "needs images of the concept"),
        ({"forget_images": "owls"}, "`dcsi` is source-free"),
        ({"method": "prompt", "forget_images": "owls"}, "`prompt` is source-free"),
    ],
)
def test_images_and_method_must_fit_before_a_weight_is_read(place, monkeypatch, step, changes, message):
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *a, **k: pytest.fail("weights were read"))
    rest = (place / "erased",) if step is erase else ()
    with pytest.raises(UsageFault, match=message):
        step(request_for(place, **changes), *rest, **({"progress": Silent()} if rest else {}))
    assert not (place / "erased").exists()


def test_a_folder_that_is_not_there_is_refused_before_a_weight_is_read(place, monkeypatch):
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(UsageFault, match="not a folder of images"):
        erase(request_for(place, forget_images=str(place / "no"), **GA), place / "erased", progress=Silent())


def test_the_subject_holds_the_features_of_the_images(tmp_path):
    draw(tmp_path, "🐶", 3)
    items = [
        Item(content_hash(path.read_bytes()), str(tmp_path), path.name, 96, 96) for path in sorted(tmp_path.iterdir())
    ]
    anchors = [
        Anchor(item, role, 0.3, None) for item, role in zip(items, ("forget", "holdout", "general"), strict=True)
    ]
    images, faults = readable_images(draw(tmp_path / "owls", find("owl").symbol, 2))
    assert not faults
    concept = subjects.material()[0]
    found = subject_of(subjects.bundled(), anchors, Aim(concept, "mlp", 0, 0.7, images), progress=Silent())
    assert found.forget_features().shape == (2, *found.features.shape[1:])
    without = subject_of(subjects.bundled(), anchors, Aim(concept, "mlp", 0, 0.7), progress=Silent())
    with pytest.raises(UsageFault, match="needs images"):
        without.forget_features()


def test_a_method_that_changes_nothing_writes_nothing(place, monkeypatch):
    monkeypatch.setattr(prompt, "edits", lambda context, options: iter(()))
    with pytest.raises(GateRefusal, match="changed nothing"):
        erase(request_for(place, method="prompt"), place / "erased", progress=Silent())
    assert not (place / "erased").exists()


def test_a_kill_while_digests_are_taken_costs_no_training(place, monkeypatch):
    request, state = request_for(place, method="prompt"), place / ".erased.partial" / "space" / "state.safetensors"
    whole = erase(request, place / "whole", progress=Silent())

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("space_cli.stages.erase.carry", lambda *_: state.write_bytes(b"of the last step"))
        patched.setattr("space_cli.stages.erase.close_ledger", killed)
        with pytest.raises(KeyboardInterrupt):
            erase(request, place / "erased", progress=Silent())
    assert state.is_file()
    assert erase(request, place / "erased", progress=Silent()).files == whole.files
    assert not (place / "erased" / "space" / "state.safetensors").exists()


@pytest.mark.parametrize("replaced", [True, False])
def test_the_ledger_names_the_anchors_that_were_used_whatever_became_of_them(place, monkeypatch, replaced):
    table = place / "anchors" / "anchors.parquet"
    used = digest_file(table)

    def meanwhile(*_):
        table.write_bytes(b"of another run") if replaced else shutil.rmtree(table.parent)

    monkeypatch.setattr("space_cli.stages.erase.carry", meanwhile)
    erase(request_for(place, method="prompt"), place / "erased", progress=Silent())
    assert read_ledger(place / "erased")[0].anchors == used


def test_an_instruction_changes_no_weight_and_one_file(told):
    receipt = read_record(told / "erased")
    assert "an owl" in receipt.instruction
    assert (receipt.layers, receipt.steps, receipt.dtype) == ([], 0, "F16")
    assert "retain_kl" not in receipt.signals
    base = {entry.path: entry.sha256 for entry in file_records(told / "base")}
    differing = {name for name, digest in base.items() if digest_file(told / "erased" / name) != digest}
    assert differing == set(receipt.changed) == {TEMPLATE}
    refuse_other_changes(receipt)
    refuse_not_made_of(open_checkpoint(told / "base"), told / "erased", receipt)
    assert failed(told / "erased") == set()
    passed = {check.name: check.detail for check in verify(told / "erased")}
    assert passed["chat template"] == "1 files are the base's with the recorded instruction"


def test_whoever_loads_the_folder_says_the_instruction(told):
    receipt = read_record(told / "erased")
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    before, after = (
        AutoTokenizer.from_pretrained(told / name).apply_chat_template(asked, tokenize=False)
        for name in ("base", "erased")
    )
    assert receipt.instruction in after
    assert after.replace(f"{receipt.instruction} ", "") == before


@pytest.mark.parametrize(
    ("name", "old", "new", "check"),
    [
        (TEMPLATE, "an owl", "a bus", "chat template"),
        (TEMPLATE, "USER", "YOU", "chat template"),
        ("generation_config.json", "{", "{ ", "files that are no weights"),
    ],
)
def test_a_changed_template_is_found_though_the_digests_were_forged(told, name, old, new, check):
    path = told / "erased" / name
    path.write_text(path.read_text().replace(old, new, 1))
    assert f"file {name}" in failed(told / "erased")
    forge(told / "erased")
    assert failed(told / "erased") == {check}


def test_an_instruction_that_is_not_recorded_is_found(told):
    record = read_record(told / "erased").model_copy(update={"instruction": ""})
    (told / "erased" / "space.json").write_text(record.model_dump_json())
    assert failed(told / "erased") == {"files that are no weights"}


@pytest.mark.parametrize("base_is_there", [True, False])
def test_reverting_an_instruction_gives_the_base_back(told, base_is_there):
    before = file_records(told / "base")
    if not base_is_there:
        shutil.rmtree(told / "base")
    revert(told / "erased", told / "back", progress=Silent())
    assert file_records(told / "back") == before


def test_every_file_with_a_template_is_changed_and_one_without_any_refused(place):
    base = place / "base"
    spoken = (base / TEMPLATE).read_text()
    (base / "chat_template.json").write_text(json.dumps({"chat_template": spoken}))
    shutil.copytree(base, place / "out")
    write_instruction(open_checkpoint(base), place / "out", "No owls.")
    changed = {p.name for p in base.iterdir() if digest_file(p) != digest_file(place / "out" / p.name)}
    assert changed == {TEMPLATE, "chat_template.json"}
    assert (
        json.loads((place / "out" / "chat_template.json").read_text())["chat_template"]
        == (place / "out" / TEMPLATE).read_text()
    )
    for name in changed:
        (base / name).unlink()
    with pytest.raises(ArtifactFault, match="has no chat template"):
        write_instruction(open_checkpoint(base), place / "out", "No owls.")


def test_a_disk_that_is_too_small_is_seen_before_anything_is_asked(place, monkeypatch):
    usage = shutil.disk_usage(place)
    shard = (place / "base" / "model.safetensors").stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=shard))
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *_, **__: pytest.fail("the checkpoint was asked"))
    with pytest.raises(EnvironmentFault, match="GB of disk"):
        erase(request_for(place, forget_images=str(place / "owls"), **GA), place / "erased", progress=Silent())
    # An instruction takes no more than the small files; the shard is a link.
    with pytest.raises(pytest.fail.Exception, match="was asked"):
        erase(request_for(place, method="prompt"), place / "told", progress=Silent())
    assert not (place / "erased").exists()
