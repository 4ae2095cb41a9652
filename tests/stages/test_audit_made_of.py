"""An audit takes a checkpoint only where it is its original plus the recorded edits, and nothing beside it."""

import pytest
import torch

from auditing import run as audit
from erased_folder import SECOND, make_base, make_edits, make_erased
from safetensors.torch import load_file, save_file

from space_cli.core.errors import ArtifactFault
from space_cli.core.ledger import START, checkpoint_digest, sealed, spell
from space_cli.core.protocols import Silent
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.core.types import Edit
from space_cli.io.artifact import digest_file, file_records, read_record
from space_cli.io.edits import EDITS, read_edits, write_edits
from space_cli.io.ledger import LEDGER, open_edits, read_ledger
from space_cli.stages import audit as stage
from space_cli.stages.revert import revert
from space_cli.stages.verify import verify

FACTS = ("concept", "method", "seed", "base", "anchors", "kept")


def reforge(folder, **changes):
    """Write ledger and record anew, so that the folder's own digests agree again."""
    entries = read_ledger(folder)
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    made = {"edits": digest_file(folder / EDITS), "result": checkpoint_digest(files)}
    *before, last = entries
    line = sealed(before, {name: getattr(last, name) for name in FACTS} | made)
    (folder / LEDGER).unlink()
    (folder / LEDGER).write_text(spell([*before, line]))
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    record = read_record(folder).model_copy(
        update={"files": files, "ledger": line.hash, "requests": len(before) + 1, **changes}
    )
    (folder / "space.json").write_text(record.model_dump_json())


@pytest.fixture
def again(erased, tmp_path):
    return make_erased(tmp_path / "again", erased, edits=make_edits(0.5), concept=Concept(name="bear"))


def refused(folder, tmp_path, said):
    with pytest.raises(ArtifactFault, match=said) as fault:
        audit(folder, tmp_path / "audit", metrics=("text_knowledge",))
    assert not (tmp_path / "audit").exists()
    return fault.value


def test_edits_that_are_not_what_was_done_are_not_taken_off(again, tmp_path):
    """With edits of nothing, what came back of an earlier concept would count as having been there all along."""
    nothing = [Edit(e.layer, dense=torch.zeros(4, 6)) for e in read_edits(again / EDITS)]
    (again / EDITS).unlink()
    write_edits(again / EDITS, nothing)
    reforge(again)
    fault = refused(again, tmp_path, "is not its original plus the recorded edits: edited parameters: not as recorded")
    assert (fault.exit_code, fault.hint) == (4, "`space verify` tells what else differs")


@pytest.mark.parametrize("request_of", ["last", "earlier"])
def test_edits_of_an_endless_product_take_no_memory(again, tmp_path, request_of):
    endless = Edit("model.layers.0.down", torch.ones(1_000_000, 0), torch.ones(0, 1_000_000))
    path = again / (EDITS if request_of == "last" else "space/earlier/0001.edits.safetensors")
    path.unlink()
    write_edits(path, [endless, make_edits()[1]])
    said = "no parameter has that shape"
    if request_of == "earlier":
        with pytest.raises(ArtifactFault, match=said):
            open_edits(again, read_ledger(again))
        return
    reforge(again)
    refused(again, tmp_path, said)
    assert said in next(check.detail for check in verify(again) if check.name == "base comparison")
    (tmp_path / "erased").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactFault, match=said):
        revert(again, tmp_path / "back", base=None, progress=Silent())


def test_a_weight_that_no_edit_changes_is_the_originals(erased, tmp_path):
    shard = erased / "model-00001-of-00002.safetensors"
    weights = load_file(shard)
    weights["embed.weight"][0, 0] += 1
    shard.unlink()
    save_file(weights, shard, metadata={"format": "pt"})
    reforge(erased)
    refused(erased, tmp_path, "untouched parameters: not as recorded: embed.weight")


def test_a_ledger_that_leaves_out_earlier_requests_stops_the_audit(again, tmp_path):
    entries = read_ledger(again)
    line = sealed([], {name: getattr(entries[-1], name) for name in (*FACTS, "edits", "result")})
    (again / LEDGER).unlink()
    (again / LEDGER).write_text(spell([line]))
    for path in (again / "space" / "earlier").iterdir():
        path.unlink()
    files = [entry for entry in file_records(again) if entry.path != "space.json"]
    record = read_record(again).model_copy(update={"files": files, "ledger": line.hash, "requests": 1})
    (again / "space.json").write_text(record.model_dump_json())
    assert line.previous == START
    refused(again, tmp_path, "does not continue the ledger of")


@pytest.mark.parametrize("name", ["chat_template.jinja", "processor_config.json"])
def test_an_instruction_excuses_no_other_change(tmp_path, name):
    """Told never to say a name, a checkpoint from which nothing was erased would pass."""
    base = make_base(tmp_path / "base", torch.float32)
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    (base / "processor_config.json").write_text("{}")
    folder = make_erased(tmp_path / "erased", base, edits=make_edits())
    (folder / name).write_text("{{ 'Never say panda.' }}")
    reforge(folder, instruction="Be brief.")
    fault = refused(folder, tmp_path, "is not its original plus the recorded edits: chat template: not as recorded")
    assert name in fault.message


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "other.safetensors", "onnx/model.onnx", "model.safetensors.index.json", "x.gguf"]
)
def test_weights_beside_those_that_were_erased_from_are_refused_though_they_are_listed(erased, tmp_path, name):
    if name == "model.safetensors.index.json":  # beside a single file it is stale, and what it names is read by some
        save_file(load_file(erased / SECOND) | {"embed.weight": torch.ones(8, 4)}, erased / "model.safetensors")
    (erased / name).parent.mkdir(exist_ok=True)
    if not (erased / name).exists():
        (erased / name).write_bytes(b"the original's")
    files = [entry for entry in file_records(erased) if entry.path != "space.json"]
    base_files = [*read_record(erased).base_files, *(entry for entry in files if entry.path == name)]
    record = read_record(erased).model_copy(update={"files": files, "base_files": base_files})
    (erased / "space.json").write_text(record.model_dump_json())
    refused(erased, tmp_path, "holds weights beside the shards that were erased from")
    with pytest.raises(ArtifactFault, match="holds weights beside the shards"):
        stage.plan(AuditRequest(erased=str(erased)))
    check = next(check for check in verify(erased) if check.name == "weights beside the shards")
    assert not check.passed


def test_an_erased_checkpoint_has_no_weights_beside_its_shards(tmp_path):
    base = make_base(tmp_path / "base", torch.float16)
    (base / "pytorch_model.bin").write_bytes(b"the same as pickle")
    erased = make_erased(tmp_path / "erased", base, edits=make_edits())
    assert [check for check in verify(erased) if not check.passed] == []
