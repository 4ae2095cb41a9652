"""A verdict is about the checkpoint that its digests name: nothing beside it is loaded, and nothing told of another."""

import pytest

from auditing import run as audit

from space_cli.cli.app import run
from space_cli.core.errors import ArtifactFault
from space_cli.io.artifact import file_records, read_record
from space_cli.io.chat_template import refuse_other_changes

LOADED = (
    "model.safetensors",  # taken in place of shards
    "generation_config.json",
    "chat_template.jinja",
    "additional_chat_templates/default.jinja",
    "adapter_config.json",
    "space/metrics.jsonl",
)


def add(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"{}")


@pytest.mark.parametrize("name", LOADED)
def test_a_file_that_was_added_to_the_checkpoint_stops_its_audit(erased, tmp_path, name):
    add(erased, name)
    with pytest.raises(ArtifactFault, match=f"{name}` was added") as fault:
        audit(erased, tmp_path / "audit", metrics=("text_knowledge",))
    assert (fault.value.exit_code, fault.value.hint) == (4, "remove it")
    assert not (tmp_path / "audit").exists()


def test_a_file_that_was_added_to_the_baseline_stops_the_audit(erased, other, tmp_path):
    add(other, "generation_config.json")
    with pytest.raises(ArtifactFault, match="was added"):
        audit(erased, tmp_path / "audit", metrics=("text_knowledge",), baseline=str(other))


def test_what_no_loader_reads_may_lie_beside_it(erased, tmp_path):
    for name in ("MODEL_CARD.md", "LICENSE", ".gitattributes", ".cache/huggingface.json"):
        add(erased, name)
    assert audit(erased, tmp_path / "audit", metrics=("text_knowledge",)).scores


@pytest.mark.parametrize("kind", ["erased", "baseline"])
@pytest.mark.parametrize("act", ["alter", "add", "remove"])
def test_a_finished_verdict_is_not_told_of_an_altered_checkpoint(erased, other, tmp_path, capsys, kind, act):
    words = ["audit", str(erased), "--metrics", "text_knowledge", "--baseline", str(other), "--exit-zero"]
    words += ["--out", str(tmp_path / "audit")]
    assert run(words) == run(words) == 0
    assert "reused" in capsys.readouterr().err
    folder = {"erased": erased, "baseline": other}[kind]
    shard = folder / "model-00002-of-00002.safetensors"
    if act == "add":
        add(folder, "model.safetensors")
    elif act == "remove":
        shard.unlink()
    else:
        content = shard.read_bytes()
        shard.unlink()
        shard.write_bytes(content[:-1] + b"\0")
    assert run(words) == 4
    assert "reused" not in capsys.readouterr().err


def forge(folder, **changes):
    """Write the record anew, so that it lists what lies in the folder."""
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    record = read_record(folder).model_copy(update={"files": files, **changes})
    (folder / "space.json").write_text(record.model_dump_json())


@pytest.mark.parametrize("name", ["generation_config.json", "config.json", "tokenizer_config.json"])
def test_a_listed_file_that_no_erasure_changes_stops_the_audit(erased, tmp_path, name):
    (erased / name).write_text('{"model_type": "llava", "suppress_tokens": [7]}')
    forge(erased)
    with pytest.raises(ArtifactFault, match=f"`{name}` of the erased checkpoint is not the original's") as fault:
        audit(erased, tmp_path / "audit", metrics=("text_knowledge",))
    assert fault.value.exit_code == 4


def test_an_instruction_may_stand_where_templates_are(erased):
    (erased / "chat_template.jinja").write_text("{{ 'Forget it.' }}")
    forge(erased, instruction="Forget it.")
    refuse_other_changes(read_record(erased))
    forge(erased, instruction="")
    with pytest.raises(ArtifactFault, match=r"chat_template\.jinja"):
        refuse_other_changes(read_record(erased))
