import auditing
import pytest
import torch

from erased_folder import make_base, make_edits, make_erased
from fakes import NAMES, Table, knowing, picture, ranking

from space_cli.io import comparison
from space_cli.stages import audit as stage


@pytest.fixture
def erased(tmp_path, monkeypatch):
    """An erased folder whose base knows everything, and which has forgotten the panda."""
    base = make_base(tmp_path / "base", torch.float32)
    folder = make_erased(tmp_path / "erased", base, edits=make_edits())
    (folder / "space").mkdir(exist_ok=True)
    tables = {
        base: Table(knowing(), ranking()),
        folder: Table(knowing("panda"), ranking("panda"), shift=0.05),
    }
    monkeypatch.setattr(stage, "open_model", lambda place, *, device: tables[place])
    for part in (stage, comparison):
        monkeypatch.setattr(part, "open_material", lambda receipt, *, seed, places=None: auditing.material())
    monkeypatch.setattr(stage, "_text_embeddings", auditing.embeddings)
    return folder


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for view in range(12 if name == "panda" else 3):
            picture(name, view).save(folder / name / f"{view:02d}.png")
    (folder / "concepts.toml").write_text(
        '[panda]\nkind = "animal"\naliases = ["giant panda"]\nfacts = [["Where would you find a panda?", "the wild"]]\n'
    )
    return folder


@pytest.fixture
def other(erased, tmp_path, monkeypatch):
    """Another erasure of the panda from the same base, which forgot nothing."""
    folder = make_erased(tmp_path / "other", tmp_path / "base", edits=make_edits(0.5))
    known, opened = Table(knowing(), ranking()), stage.open_model
    monkeypatch.setattr(
        stage, "open_model", lambda place, *, device: known if place == folder else opened(place, device=device)
    )
    return folder
