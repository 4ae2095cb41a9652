"""The user's own lines, as written, in an empty folder with a pool: real processes, a real checkpoint, no hub.

The hub's cache holds the bundled checkpoint under the names of LLaVA-1.5 and its CLIP, so the lines need no option.
"""

import json
import os
import shutil
import subprocess
import sys

from pathlib import Path

import pytest

from space_cli.bundled.checkpoint import checkpoint_folder, encoder_folder
from space_cli.bundled.concepts import drawn_concepts
from space_cli.bundled.drawings import STYLES, render

SETTINGS = """
[select]
floor = 0.1
anchors = 10
holdout = 4
neighbours = 20
general = 40

[erase.set]
steps = 6
harden_steps = 6
check = 6
"""


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "pool"
    pictures.mkdir()
    for row, concept in enumerate(c for c in drawn_concepts() if c.name != "santa claus"):
        render(concept.symbol, STYLES[row % 2], 2_700_000).save(pictures / f"{row:03d}.png")
    (tmp_path / "space.toml").write_text(SETTINGS)
    cached(tmp_path / "home", "llava-hf/llava-1.5-7b-hf", checkpoint_folder())
    cached(tmp_path / "home", "openai/clip-vit-large-patch14-336", encoder_folder())
    return tmp_path


def cached(home, name, source):
    """Lay a folder out as the hub's cache does after a download."""
    place = home / "hub" / f"models--{name.replace('/', '--')}"
    shutil.copytree(source, place / "snapshots" / ("0" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)


def run(folder, *arguments):
    settings = os.environ | {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}
    settings["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "space_cli", *arguments]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_index_select_erase_audit_show_verify_revert(folder):
    model = "llava-hf/llava-1.5-7b-hf"
    lines = [
        ("index", "./pool"),
        ("select", "Santa Claus"),
        ("erase", "--concept", "Santa Claus", "--model", model),
    ]
    for line in lines:
        made = run(folder, *line)
        assert made.returncode == 0, made.stderr
        assert "next: space " in made.stderr
    audited = run(folder, "audit", "--json")
    assert audited.returncode == 3, audited.stderr
    told = json.loads(audited.stdout)
    assert told["verdict"] == "inconclusive"
    assert {"elicitation", "retain_kl"} <= set(told["scores"])
    assert "forget_accuracy" in told["skipped"]
    assert set(told["seconds"]) == {"index", "select", "erase", "audit"}
    assert run(folder, "verify", ".space/erased").returncode == 0
    reverted = run(folder, "revert", ".space/erased", "restored", "--json")
    assert reverted.returncode == 0
    assert json.loads(reverted.stdout)["exact"] is True
    restored, base = folder / "restored" / "model.safetensors", checkpoint_folder() / "model.safetensors"
    assert restored.read_bytes() == base.read_bytes()


@pytest.mark.slow
def test_a_name_the_checkpoint_does_not_know_is_refused(folder):
    assert run(folder, "index", "./pool").returncode == 0
    made = run(folder, "erase", "--concept", "Donald Trump", "--model", "llava-hf/llava-1.5-7b-hf")
    assert made.returncode == 3
    assert "does not seem to know" in made.stderr or "nothing near" in made.stderr
    assert not (folder / ".space" / "erased").exists()
    assert "Traceback" not in made.stderr
