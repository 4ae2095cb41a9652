"""A copy of an erased folder that names nothing, verifies, and can be audited by who has the key."""

import json
import shutil

import pytest
import torch

from auditing import QUICK
from erased_folder import PANDA, SECOND, make_anchors, make_base, make_edits, make_erased, make_pool
from hidden_names import telling, telling_files
from safetensors.torch import load_file

from space_cli.cli.app import run
from space_cli.core.errors import UsageFault
from space_cli.core.ledger import parse, require_new
from space_cli.core.masking import masked_concept
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import Concept
from space_cli.core.records import FileRecord
from space_cli.io.artifact import digest_file, file_records, read_record, source_of
from space_cli.io.ledger import read_ledger
from space_cli.stages import audit as stage
from space_cli.stages.verify import verify

KEY = "0123456789abcdef" * 4
NAMES = ["panda", "giant panda"]
FULL = Concept(name="panda", aliases=("giant panda",), phrase="a giant panda", kind="animal")


TELLING = {"space.json", "metrics.jsonl", "ledger.jsonl"}
"""Files of an erased folder that name the concept."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An erased folder with all that may name the concept, and a base whose vocabulary has every word."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPACE_PSEUDONYM_KEY", KEY)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"png")
    anchors = make_anchors(tmp_path / "anchors", make_pool(tmp_path / "pool", tmp_path / "pictures"))
    base = make_base(tmp_path / "base", torch.float16)
    (base / "vocab.json").write_text('{"panda": 7}')
    inputs = [source_of(anchors, "anchors")]
    make_erased(tmp_path / "erased", base, edits=make_edits(), inputs=inputs, link=False, concept=FULL)
    rows = [{"step": 1, "loss": 0.5, "note": "Giant_Panda"}, {"step": 2, "loss": 0.25}]
    (tmp_path / "erased" / "space" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    forge(tmp_path / "erased")
    return tmp_path


def forge(folder, **changes):
    record = read_record(folder)
    request = record.request.model_copy(
        update={"concept": FULL, "anchors": "/data/panda/anchors", "options": {"a": "Panda"}}
    )
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    changed = record.model_copy(update={"request": request, "files": files, **changes})
    (folder / "space.json").write_text(changed.model_dump_json())


def copy(*more):
    return run(["pseudonymize", "erased", "--out", "shared", *more])


def public(place):
    return {path.read_bytes() for path in (place / "base").rglob("*") if path.is_file()}


@pytest.mark.parametrize("output", [[], ["--json"], ["-q"]])
def test_the_copy_names_nothing_and_verifies(place, capsys, output):
    assert set(telling_files(place / "erased", NAMES, public(place))) == TELLING
    assert copy(*output) == 0
    shown = capsys.readouterr()
    assert telling(shown.out.encode() + shown.err.encode(), NAMES) == []
    assert telling_files(place / "shared", NAMES, public(place)) == {}
    assert [check for check in verify(place / "shared") if not check.passed] == []
    receipt = read_record(place / "shared")
    hidden = Pseudonym(FULL, KEY.encode())
    assert receipt.request.concept.name == hidden.text
    assert receipt.request.concept.aliases == (hidden.of("giant panda"),)
    assert receipt.pseudonymized.key_id == hidden.key_id
    assert [source.kind for source in receipt.inputs] == ["checkpoint"]
    assert [source.kind for source in receipt.pseudonymized.withheld] == ["anchors"]
    assert receipt.layers == read_record(place / "erased").layers


def test_the_weights_and_what_told_nothing_are_the_same_bytes(place):
    assert copy() == 0
    for path in (place / "erased").rglob("*"):
        if path.is_file() and path.name not in TELLING:
            assert (place / "shared" / path.relative_to(place / "erased")).read_bytes() == path.read_bytes()
    old, new = ((place / x / "space" / "metrics.jsonl").read_text().splitlines() for x in ("erased", "shared"))
    assert new[1] == old[1]
    assert json.loads(new[0])["loss"] == 0.5


def test_who_receives_it_verifies_with_a_base_of_their_own(place, capsys):
    assert copy() == 0
    (place / "base").rename(place / "mine")
    for gone in ("erased", "anchors", "pool"):
        shutil.rmtree(place / gone)
    assert run(["verify", "shared"]) == 4
    assert run(["verify", "shared", "--input", "checkpoint=mine"]) == 0
    config = place / "mine" / "config.json"
    config.write_text(config.read_text() + " ")
    assert run(["verify", "shared", "--input", "checkpoint=mine"]) == 4


def test_the_salt_that_keeps_the_name_from_being_guessed_is_not_in_the_copy(place):
    """A hidden audit of the original tells the digest of its receipt, and the copy has all else of that."""
    assert copy() == 0
    salt = read_record(place / "erased").salt
    assert len(salt) == 32
    assert not read_record(place / "shared").salt
    assert not any(salt.encode() in path.read_bytes() for path in (place / "shared").rglob("*") if path.is_file())


def test_an_altered_copy_is_found(place):
    assert copy() == 0
    path = place / "shared" / "space" / "metrics.jsonl"
    path.write_text(path.read_text() + "{}\n")
    assert run(["verify", "shared"]) == 4


def test_a_ledger_is_sealed_anew(place):
    assert copy() == 0
    ledger = place / "erased" / "space" / "ledger.jsonl"
    (old,) = parse(ledger.read_text(), origin="old")
    (new,) = parse((place / "shared" / "space" / "ledger.jsonl").read_text(), origin="new")
    assert new.concept == masked_concept(FULL, Pseudonym(FULL, KEY.encode()))
    kept = {"number", "method", "seed", "base", "edits", "anchors", "kept", "result", "previous"}
    assert new.model_dump(include=kept) == old.model_dump(include=kept)
    assert new.hash == read_record(place / "shared").ledger != old.hash
    ledger.write_text(ledger.read_text() * 2)
    forge(place / "erased")
    assert copy("--overwrite") == 2


def test_a_later_request_has_no_copy_and_nothing_is_written(place, capsys):
    """Its receipt has the digest of its base's ledger, which anybody could make again who guesses the name in it."""
    make_erased(place / "again", place / "erased", edits=make_edits(0.5), concept=Concept(name="koala"))
    ledger = digest_file(place / "erased" / "space" / "ledger.jsonl")
    assert ledger in {entry.sha256 for entry in read_record(place / "again").base_files}
    assert run(["pseudonymize", "again", "--out", "shared"]) == 2
    said = capsys.readouterr()
    assert "erased from more than once" in said.err
    assert "space audit --pseudonymize" in said.err
    assert telling(said.out.encode() + said.err.encode(), [*NAMES, "koala"]) == []
    assert not list(place.glob("*shared*"))


def test_the_copy_holds_its_own_undo_unless_it_is_given_away_without_what_space_wrote(place):
    assert copy() == 0
    published = shutil.copytree(place / "shared", place / "published", ignore=shutil.ignore_patterns("space*"))
    original = load_file(place / "base" / SECOND)
    shutil.rmtree(place / "base")
    assert run(["revert", "shared", "restored", "--approximate"]) == 0
    restored = load_file(place / "restored" / SECOND)
    assert all(torch.allclose(restored[name], tensor, atol=0.01) for name, tensor in original.items())
    assert not any(torch.allclose(load_file(published / SECOND)[name], original[name], atol=0.01) for name in original)
    assert run(["revert", "published", "again", "--approximate"]) == 4


def test_nothing_more_is_erased_from_a_copy(place):
    assert copy() == 0
    with pytest.raises(UsageFault, match="pseudonymized copy"):
        require_new(read_ledger(place / "shared"), Concept(name="koala"))


def test_what_cannot_be_hidden_is_refused(place, capsys):
    forge(place / "erased", instruction="Never speak of a Panda")
    assert copy() == 2
    forge(place / "erased", instruction="")
    (place / "erased" / "space" / "notes.bin").write_bytes(b"x")
    forge(place / "erased")
    assert copy() == 4
    (place / "erased" / "space" / "notes.bin").rename(place / "erased" / "space" / "panda.jsonl")
    forge(place / "erased")
    assert copy() == 2
    (place / "erased" / "space" / "panda.jsonl").unlink()
    forge(place / "erased")
    assert run(["pseudonymize", "erased", "--out", "no-Panda"]) == 2
    said = capsys.readouterr()
    assert telling(said.out.encode() + said.err.encode(), NAMES) == []
    assert copy() == 0
    assert run(["pseudonymize", "shared", "--out", "again"]) == 2
    assert run(["pseudonymize", "base", "--out", "again"]) == 4


@pytest.mark.parametrize("content", [b"{", b"{}\n\n", b'{"a": "\xff"}', b"[" * 99999])
def test_lines_that_nobody_can_read_are_refused(place, content):
    (place / "erased" / "space" / "metrics.jsonl").write_bytes(content)
    forge(place / "erased")
    assert copy() == 4
    assert not (place / "shared").exists()


def test_an_altered_folder_is_not_copied(place):
    (place / "erased" / "README.md").write_text("other")
    assert copy() == 4
    assert not (place / "shared").exists()


def test_a_file_of_the_original_that_is_named_like_the_concept_is_refused(place, capsys):
    record = read_record(place / "erased")
    forge(place / "erased", base_files=[*record.base_files, FileRecord(path="Panda-lora.gguf", sha256="0", bytes=1)])
    assert copy() == 2
    said = capsys.readouterr()
    assert "has the concept in its name" in said.err
    assert telling(said.out.encode() + said.err.encode(), NAMES) == []
    assert not list(place.glob("*shared*"))


@pytest.mark.parametrize("listed", ["files", "base_files"])
@pytest.mark.parametrize("outside", ["../mine.txt", "/mine.txt"])
def test_a_record_that_lists_a_file_elsewhere_is_refused_and_nothing_there_is_touched(place, outside, listed, capsys):
    mine, record = place / "mine.txt", place / "erased" / "space.json"
    mine.write_text("mine")
    content = json.loads(record.read_text())
    path = outside if outside.startswith("..") else str(mine)
    content[listed].append({"path": path, "sha256": digest_file(mine), "bytes": 4})
    record.write_text(json.dumps(content))
    words = [["pseudonymize", "erased", "--out", "shared"], ["revert", "erased", "out"], ["verify", "erased"]]
    for command in words:
        assert run(command) == 4
        assert "is no path inside the folder" in capsys.readouterr().err
    assert (mine.read_text(), mine.stat().st_nlink) == ("mine", 1)


def test_a_key_is_needed(place, monkeypatch):
    monkeypatch.delenv("SPACE_PSEUDONYM_KEY")
    assert copy() == 2
    (place / "key").write_text("short")
    assert copy("--pseudonym-key-file", "key") == 2
    (place / "key").write_text(KEY)
    assert copy("--pseudonym-key-file", "key") == 0


@pytest.fixture
def shared(erased, tmp_path, monkeypatch, capsys):
    """A pseudonymized copy of a folder whose checkpoints answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPACE_PSEUDONYM_KEY", KEY)
    assert run(["pseudonymize", str(erased), "--out", "shared"]) == 0
    opened = stage.open_model
    monkeypatch.setattr(
        stage,
        "open_model",
        lambda place, *, device: opened(erased if place.name == "shared" else place, device=device),
    )
    capsys.readouterr()
    return tmp_path / "shared"


def audit(*more):
    metrics = [word for name in QUICK for word in ("--metrics", name)]
    words = ["audit", "shared", "--images", "images", "--out", "report", "--exit-zero", *metrics]
    return run([*words, *more])


def test_an_audit_of_the_copy_needs_the_name_and_the_key(shared, images, tmp_path, monkeypatch, capsys):
    assert PANDA == Concept(name="panda")
    assert audit() == 2
    assert "names only the pseudonym" in capsys.readouterr().err
    assert audit("--concept", "koala") == 2
    assert "is not what was erased" in capsys.readouterr().err
    (tmp_path / "other").write_text("o" * 40)
    assert audit("--concept", "panda", "--pseudonym-key-file", "other") == 2
    assert "with another key" in capsys.readouterr().err
    monkeypatch.delenv("SPACE_PSEUDONYM_KEY")
    assert audit("--concept", "panda") == 2
    assert "needs a key" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_an_audit_of_the_copy_measures_and_names_nothing(shared, images, tmp_path, capsys):
    assert audit("--concept", "panda", "--alias", "giant panda") == 0
    shown = capsys.readouterr()
    assert telling(shown.out.encode() + shown.err.encode(), NAMES) == []
    assert telling_files(tmp_path / "report", NAMES) == {}
    report = read_record(tmp_path / "report")
    assert (report.scores["forget_accuracy"].before, report.scores["forget_accuracy"].after) == (1.0, 0.0)
    assert report.verdict == "pass"
    assert run(["verify", "report"]) == 0


def test_a_name_that_an_open_folder_does_not_have_is_refused(erased, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["audit", str(erased), "--concept", "koala", "--out", "report"]) == 2
    assert run(["audit", str(erased), "--alias", "koala", "--out", "report"]) == 2
    assert run(["audit", str(erased), "--concept", "PANDA", "--metrics", "text_knowledge", "--out", "report"]) == 3
