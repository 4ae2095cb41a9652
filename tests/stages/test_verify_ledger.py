"""Verify finds every line that was removed, moved or edited, also where the record was made to agree."""

import shutil

from pathlib import Path

import pytest
import torch

from erased_folder import make_base, make_edits, make_erased

from space_cli.core.errors import ArtifactFault
from space_cli.core.ledger import checkpoint_digest, parse, sealed, spell
from space_cli.core.recipe import Concept
from space_cli.io.artifact import digest_file, file_records, read_record
from space_cli.io.kept import KEPT, write_kept
from space_cli.io.ledger import EARLIER, LEDGER, open_earlier, open_edits, open_ledger, read_ledger
from space_cli.stages.verify import verify

OWL, BUS = Concept(name="owl"), Concept(name="bus")


@pytest.fixture
def thrice(tmp_path) -> Path:
    """Three requests in a row: panda, owl, bus."""
    base = make_base(tmp_path / "base", torch.float16)
    first = make_erased(tmp_path / "first", base, edits=make_edits())
    second = make_erased(tmp_path / "second", first, edits=make_edits(0.5), concept=OWL)
    make_erased(tmp_path / "third", second, edits=make_edits(0.25), concept=BUS)
    return tmp_path


def forge(folder: Path, **changes: object) -> None:
    record = read_record(folder)
    files = [entry for entry in file_records(folder) if entry.path != "space.json"]
    (folder / "space.json").write_text(record.model_copy(update={"files": files, **changes}).model_dump_json())


def failed(folder: Path) -> dict[str, str]:
    return {check.name: check.detail for check in verify(folder) if not check.passed}


def lines_of(folder: Path) -> list[str]:
    return (folder / LEDGER).read_text().splitlines(keepends=True)


def test_a_whole_ledger_passes_back_to_the_first_base(thrice):
    checks = {check.name: check for check in verify(thrice / "third")}
    assert [check for check in checks.values() if not check.passed] == []
    assert checks["ledger"].detail.startswith("3 requests")
    assert checks["ledger: base"].detail == "continues the 2 requests of the base"
    assert checks["checkpoint: checkpoint: ledger: base"].detail == "starts at the original checkpoint"
    assert [entry.concept.name for entry in read_ledger(thrice / "third")] == ["panda", "owl", "bus"]


def test_edits_and_anchors_of_every_request_travel(thrice):
    folder = thrice / "third"
    entries = open_ledger(folder, file_records(folder))
    edits = open_edits(folder, entries)
    for found, size in zip(edits, (1.0, 0.5, 0.25), strict=True):
        assert torch.equal(found[0].delta(), make_edits(size)[0].delta())
    earlier = open_earlier(folder, entries, entries[:-1])
    assert [(one.concept.name, float(one.features[0, 0, 0])) for one in earlier] == [("panda", 1.0), ("owl", 2.0)]
    # The same file under another name, not a copy of it.
    carried = folder / EARLIER / "0001.edits.safetensors"
    assert carried.samefile(thrice / "first" / "space" / "edits.safetensors")


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("act", ["remove", "edit", "move"])
@pytest.mark.parametrize("forged", [True, False])
def test_a_removed_edited_or_moved_line_is_found(thrice, row, act, forged):
    folder = thrice / "third"
    lines = lines_of(folder)
    if act == "remove":
        del lines[row]
    elif act == "edit":
        lines[row] = lines[row].replace('"seed":0', '"seed":1')
    else:
        lines.insert((row + 1) % 3, lines.pop(row))
    (folder / LEDGER).unlink()
    (folder / LEDGER).write_text("".join(lines))
    if forged:
        forge(folder)
    found = failed(folder)
    assert "ledger" in found
    assert (f"file {LEDGER}" in found) is not forged


def test_a_ledger_that_is_gone_is_found_under_a_forged_record(thrice):
    (thrice / "third" / LEDGER).unlink()
    forge(thrice / "third")
    assert "is missing" in failed(thrice / "third")["ledger"]
    with pytest.raises(ArtifactFault, match=r"ledger\.jsonl is missing"):
        open_ledger(thrice / "third", file_records(thrice / "third"))


def test_a_ledger_written_anew_without_a_request_is_found_at_the_base(thrice):
    """All hashes right, the owl left out: only the base's own ledger and digest can tell."""
    folder = thrice / "third"
    entries = read_ledger(folder)
    facts = [entry.model_dump(exclude={"number", "previous", "hash"}) for entry in entries]
    anew = [sealed([], facts[0] | {"result": facts[2]["base"]})]
    anew.append(sealed(anew, facts[2]))
    assert parse(spell(anew), origin="x")
    for part in ("edits", "anchors"):
        (folder / EARLIER / f"0002.{part}.safetensors").unlink()
    (folder / LEDGER).write_text(spell(anew))
    forge(folder, ledger=anew[-1].hash, requests=2)
    assert set(failed(folder)) == {"ledger: base"}
    assert "does not continue the ledger of" in failed(folder)["ledger: base"]


def test_a_ledger_of_another_checkpoint_is_found_and_refused(thrice):
    other = make_erased(thrice / "other", thrice / "base", edits=make_edits(2.0))
    shutil.copyfile(other / LEDGER, thrice / "first" / "copy")
    (thrice / "first" / "copy").replace(thrice / "first" / LEDGER)
    forge(thrice / "first")
    assert "does not belong to this checkpoint" in failed(thrice / "first")["ledger"]
    with pytest.raises(ArtifactFault, match="does not belong to this checkpoint") as fault:
        open_ledger(thrice / "first", file_records(thrice / "first"))
    assert fault.value.exit_code == 4


@pytest.mark.parametrize("name", ["0001.edits.safetensors", "0001.anchors.safetensors", "0002.edits.safetensors"])
@pytest.mark.parametrize("gone", [True, False])
def test_carried_files_are_the_ledgers(thrice, name, gone):
    path = thrice / "third" / EARLIER / name
    content = path.read_bytes()
    path.unlink()
    if not gone:
        path.write_bytes(content + b"x")
    forge(thrice / "third")
    assert set(failed(thrice / "third")) == {"ledger: what it carries"}


def test_a_last_line_of_another_request_than_the_receipts_is_found(thrice):
    record = read_record(thrice / "third")
    other = record.request.model_copy(update={"concept": OWL})
    forge(thrice / "third", request=other)
    assert "another request than the receipt's" in failed(thrice / "third")["ledger"]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_receipt_that_counts_other_requests_than_its_ledger_is_found(thrice, count):
    forge(thrice / "third", requests=count)
    assert f"has 3 requests: the receipt says {count}" in failed(thrice / "third")["ledger"]


def test_a_base_that_is_gone_leaves_the_chain_to_be_checked(thrice):
    shutil.rmtree(thrice / "second")
    names = {check.name: check.passed for check in verify(thrice / "third")}
    assert names["ledger"]
    assert names["ledger: what it carries"]
    assert not names["input checkpoint"]
    assert "ledger: base" not in names


def test_a_checkpoint_without_a_ledger_has_no_request(thrice):
    assert open_ledger(thrice / "base", file_records(thrice / "base")) == []


def test_something_added_beside_the_checkpoint_is_no_part_of_it(thrice):
    folder = thrice / "first"
    before = checkpoint_digest(file_records(folder))
    (folder / "signature.json").write_text("{}")
    assert checkpoint_digest(file_records(folder)) != before
    assert len(open_ledger(folder, file_records(folder))) == 1


def test_equal_requests_write_equal_ledgers(tmp_path):
    base = make_base(tmp_path / "base", torch.float16)
    one, other = (make_erased(tmp_path / name, base, edits=make_edits()) for name in ("one", "other"))
    assert digest_file(one / LEDGER) == digest_file(other / LEDGER)
    assert digest_file(one / KEPT) == digest_file(other / KEPT)


def test_kept_anchors_without_an_anchor_are_none(tmp_path):
    folder = make_erased(tmp_path / "erased", make_base(tmp_path / "base", torch.float16), edits=make_edits())
    write_kept(folder, torch.ones(0, 1, 1))
    entries = read_ledger(folder)
    with pytest.raises(ArtifactFault, match="holds no anchors"):
        open_earlier(folder, entries, entries)
