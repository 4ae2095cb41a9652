import os
import sys

from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def clean_place(tmp_path, monkeypatch):
    """Run each test in an empty folder, with no option set outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SPACE_")]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI"):
        monkeypatch.delenv(name, raising=False)


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
