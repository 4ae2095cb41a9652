import os
import sys

from pathlib import Path
from types import ModuleType

import pytest

from cli_records import make_anchors, make_audit, make_erased, make_model, make_pool

import space_cli

from space_cli.cli import chain


@pytest.fixture(autouse=True)
def clean_place(tmp_path, monkeypatch):
    """Run each test in an empty folder, with no option set outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SPACE_")]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def child_environment():
    """Let a child process import this very package, installed or not."""
    return {**os.environ, "PYTHONPATH": str(Path(space_cli.__file__).parent.parent)}


@pytest.fixture
def fake_stage(monkeypatch):
    """Put a stage in place of the real one: `fake_stage("index", function)`."""

    def install(name, function, **more):
        module = ModuleType(f"space_cli.stages.{name}")
        setattr(module, name, function)
        for key, value in more.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return install


@pytest.fixture
def stages(fake_stage, monkeypatch, tmp_path):
    """Replace every stage by one that only leaves its record; returns the calls in order."""
    calls = []

    def index(request, out, *, progress, overwrite=False):
        calls.append(("index", request, overwrite))
        return make_pool(out, images=len(calls) + 10)

    def select(request, out, *, progress, overwrite=False):
        calls.append(("select", request, overwrite))
        model = Path(request.model) if request.model else None
        kept = request.model_dump(include={"exclude", "allow_leaks", "anchors"})
        return make_anchors(out, Path(request.pool), model=model, concept=request.concept, **kept)

    def erase(request, out, *, progress, overwrite=False):
        calls.append(("erase", request, overwrite))
        return make_erased(out, Path(request.anchors), name=request.concept.name)

    def audit(request, out, *, progress, overwrite=False):
        calls.append(("audit", request, overwrite))
        return make_audit(out, Path(request.erased))

    for function in (index, select, erase, audit):
        fake_stage(function.__name__, function)
    monkeypatch.setattr(chain, "check_model", lambda model, revision, scope: Path(model))
    monkeypatch.setattr(chain, "check_method", lambda method, options: None)
    make_model(tmp_path / "model")
    (tmp_path / "images").mkdir()
    return calls
