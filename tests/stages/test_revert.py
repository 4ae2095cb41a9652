"""Revert gives the base back to the bit where it can, and says so where it cannot."""

import errno
import shutil

from pathlib import Path

import filelock
import pytest
import torch

from erased_folder import FIRST, SECOND, make_base, make_edits, make_erased
from heard import Heard
from safetensors.torch import load_file, save_file

from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.core.recipe import Concept
from space_cli.core.types import Edit
from space_cli.io.artifact import file_records, read_record
from space_cli.io.ledger import LEDGER, read_ledger
from space_cli.stages.revert import revert


@pytest.fixture(params=[torch.float16, torch.bfloat16], ids=str)
def erasure(request, tmp_path) -> Path:
    base = make_base(tmp_path / "base", request.param)
    make_erased(tmp_path / "erased", base, edits=make_edits(0.01))
    return tmp_path


@pytest.fixture
def exact(tmp_path) -> Path:
    """Weights and edits on one coarse grid without -0, so that nothing is ever rounded."""
    base = make_base(tmp_path / "base", torch.float16)
    tensors = {name: (tensor * 4).round() / 4 + 0.0 for name, tensor in load_file(base / SECOND).items()}
    save_file(tensors, base / SECOND, metadata={"format": "pt"})
    make_erased(tmp_path / "erased", base, edits=coarse_edits())
    return tmp_path


def coarse_edits() -> list[Edit]:
    first, second = make_edits()
    return [first, Edit(second.layer, dense=(second.dense * 4).round())]


def test_the_bar_of_writing_comes_to_its_end(erasure):
    progress = Heard()
    revert(erasure / "erased", erasure / "out", progress=progress)
    assert progress.bars == [("writing the checkpoint", 1, 1)]


def attempt(folder: Path, **options: object) -> list[str]:
    progress = Heard()
    made = revert(folder / "erased", folder / "out", progress=progress, **options)
    assert (made.folder, made.how) == (folder / "out", progress.notes[-1])
    assert made.exact == ("up to rounding" not in made.how)
    return progress.notes


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".") and path.suffix != ".lock")


def test_base_gives_its_own_bytes_back(erasure):
    notes = attempt(erasure)
    assert file_records(erasure / "out") == file_records(erasure / "base")
    assert notes == [f"taken from the base `{erasure / 'base'}`: bit-identical"]
    assert leftovers(erasure) == []


def test_base_that_moved_can_be_named(erasure):
    before = file_records(erasure / "base")
    (erasure / "base").rename(erasure / "moved")
    attempt(erasure, base=erasure / "moved")
    assert file_records(erasure / "out") == before


def test_named_base_that_is_another_is_refused(erasure):
    other = shutil.copytree(erasure / "base", erasure / "other")
    tensors = load_file(other / FIRST)
    save_file({**tensors, "embed.weight": tensors["embed.weight"] + 1}, other / FIRST, metadata={"format": "pt"})
    with pytest.raises(ArtifactFault, match="was altered"):
        attempt(erasure, base=other)
    with pytest.raises(ArtifactFault, match="does not exist"):
        attempt(erasure, base=erasure / "nowhere")
    assert not (erasure / "out").exists()


def test_without_base_rounding_is_refused_unless_accepted(erasure):
    original = load_file(erasure / "base" / SECOND)
    first = (erasure / "base" / FIRST).read_bytes()
    shutil.rmtree(erasure / "base")
    with pytest.raises(ArtifactFault, match="only up to rounding") as fault:
        attempt(erasure)
    assert "--approximate" in fault.value.hint
    assert not (erasure / "out").exists()
    assert leftovers(erasure) == []
    notes = attempt(erasure, approximate=True)
    assert "the base cannot be used" in notes[0]
    assert "up to rounding in float16" in notes[-1]
    assert (erasure / "out" / FIRST).read_bytes() == first
    for name, tensor in load_file(erasure / "out" / SECOND).items():
        step = torch.finfo(tensor.dtype).eps * original[name].float().abs().clamp(min=0.1)
        assert ((tensor.float() - original[name].float()).abs() <= 2 * step).all()
        assert not torch.equal(tensor, load_file(erasure / "erased" / SECOND)[name])
    assert not (erasure / "out" / "space.json").exists()
    assert not (erasure / "out" / "space").exists()


def test_without_base_an_exact_edit_comes_back_exactly(exact):
    before = file_records(exact / "base")
    shutil.rmtree(exact / "base")
    notes = attempt(exact)
    assert file_records(exact / "out") == before
    assert notes[-1] == "edits subtracted: every shard has the base's digest"


def test_altered_base_is_not_trusted(exact):
    before = file_records(exact / "base")
    (exact / "base" / "README.md").write_text("another")
    notes = attempt(exact)
    assert "README.md" in notes[0]
    assert file_records(exact / "out") == before


def test_altered_erased_folder_is_refused(erasure):
    raw = bytearray((erasure / "erased" / SECOND).read_bytes())
    raw[-1] ^= 1
    (erasure / "erased" / SECOND).write_bytes(raw)
    with pytest.raises(ArtifactFault, match="was altered"):
        attempt(erasure)


def test_only_an_erased_folder_is_reverted(erasure):
    with pytest.raises(ArtifactFault, match=r"holds no space\.json"):
        revert(erasure / "base", erasure / "out", progress=Heard())


def test_existing_folder_is_kept(erasure):
    (erasure / "out").mkdir()
    (erasure / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UsageFault, match="exists already"):
        attempt(erasure)
    with pytest.raises(UsageFault, match="was not written by space"):
        attempt(erasure, overwrite=True)
    assert (erasure / "out" / "mine.txt").read_text() == "mine"


def test_our_own_folder_is_replaced_when_asked(erasure):
    (erasure / "erased").rename(erasure / "first")
    make_erased(erasure / "erased", erasure / "base", edits=make_edits(0.5))
    (erasure / "first").rename(erasure / "out")
    (erasure / ".out.partial").mkdir()
    (erasure / ".out.partial" / "left-by-a-kill").write_text("x")
    attempt(erasure, overwrite=True)
    assert file_records(erasure / "out") == file_records(erasure / "base")
    assert leftovers(erasure) == []


def test_erased_folder_can_become_its_base(erasure):
    revert(erasure / "erased", erasure / "erased", overwrite=True, progress=Heard())
    assert file_records(erasure / "erased") == file_records(erasure / "base")


def test_out_inside_the_erased_folder_is_refused(erasure):
    with pytest.raises(UsageFault, match="lies inside"):
        revert(erasure / "erased", erasure / "erased" / "out", progress=Heard())


def test_full_disk_keeps_what_was_there(erasure, monkeypatch):
    (erasure / "out").mkdir()
    shutil.copy(erasure / "erased" / "space.json", erasure / "out" / "space.json")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(EnvironmentFault, match="is full"):
        attempt(erasure, overwrite=True)
    assert [path.name for path in (erasure / "out").iterdir()] == ["space.json"]
    assert leftovers(erasure) == []


def test_a_link_to_another_disk_is_followed_and_stays(erasure):
    (erasure / "disk").mkdir()
    (erasure / "out").symlink_to(erasure / "disk" / "restored")
    attempt(erasure)
    assert (erasure / "out").is_symlink()
    assert file_records(erasure / "disk" / "restored") == file_records(erasure / "base")


def test_a_checkpoint_that_cannot_be_put_in_its_place_is_kept(erasure, monkeypatch):
    def busy(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(EnvironmentFault, match="the finished folder is kept as"):
        attempt(erasure)
    assert file_records(erasure / ".out.partial") == file_records(erasure / "base")


def test_what_an_earlier_run_left_is_not_mixed_into_the_base(erasure, monkeypatch):
    (erasure / ".out.partial").mkdir()
    (erasure / ".out.partial" / "old.json").write_text("{}")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as where it is another user's
    with pytest.raises(EnvironmentFault, match="cannot be removed"):
        attempt(erasure)
    assert not (erasure / "out").exists()


def test_two_writers_at_once(erasure):
    with (
        filelock.FileLock(erasure / ".out.lock"),
        pytest.raises(EnvironmentFault, match="another run is writing"),
    ):
        attempt(erasure)


def test_erasure_of_an_erasure_goes_back_one_step(erasure):
    (erasure / "erased").rename(erasure / "once")
    make_erased(erasure / "erased", erasure / "once", edits=make_edits(0.5), concept=Concept(name="owl"))
    attempt(erasure)
    once, out = (file_records(erasure / name) for name in ("once", "out"))
    # The first checkpoint to the bit, with its ledger, so that the next request can be asked of it; without its record.
    assert out == [entry for entry in once if entry.path != "space.json"]
    assert make_erased(erasure / "again", erasure / "out", edits=make_edits(0.25), concept=Concept(name="owl"))
    assert [entry.number for entry in read_ledger(erasure / "again")] == [1, 2]


def test_without_the_checkpoint_between_a_second_erasure_is_subtracted(exact):
    (exact / "erased").rename(exact / "once")
    make_erased(exact / "erased", exact / "once", edits=coarse_edits(), concept=Concept(name="owl"))
    once = [entry for entry in file_records(exact / "once") if entry.path != "space.json"]
    shutil.rmtree(exact / "once")
    attempt(exact)
    assert file_records(exact / "out") == once


def test_a_ledger_of_another_checkpoint_is_refused(erasure):
    make_erased(erasure / "other", erasure / "base", edits=make_edits(0.5))
    ledger = erasure / "erased" / LEDGER
    ledger.write_bytes((erasure / "other" / LEDGER).read_bytes())
    record = read_record(erasure / "erased")
    files = [entry for entry in file_records(erasure / "erased") if entry.path != "space.json"]
    (erasure / "erased" / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())
    with pytest.raises(ArtifactFault, match="does not belong to this checkpoint"):
        attempt(erasure)
    assert not (erasure / "out").exists()


def test_shard_the_receipt_does_not_know_counts_as_different(exact):
    record = read_record(exact / "erased")
    known = [entry for entry in record.base_files if entry.path != SECOND]
    forged = record.model_copy(update={"base_files": known})
    (exact / "erased" / "space.json").write_text(forged.model_dump_json())
    shutil.rmtree(exact / "base")
    with pytest.raises(ArtifactFault, match="1 shards come back only up to rounding"):
        attempt(exact)
