"""The plug-ins of the contributing guide are whole files: put where they belong, they are found and they run."""

import importlib
import re

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fakes import Table, knowing, probe, ranking

from space_cli.core import registry
from space_cli.core.attacking import scores_of

GUIDE = Path(__file__).parent.parent / "CONTRIBUTING.md"


@pytest.fixture
def dropped_in(tmp_path, monkeypatch):
    """Return a function that puts the guide's example into a package and loads it from there."""

    def put(package):
        found = importlib.import_module(f"space_cli.{package}")
        name = f"guide_{package}"
        text = GUIDE.read_text(encoding="utf-8").partition(f": `space_cli/{package}/")[2]
        code = re.search(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        (tmp_path / f"{name}.py").write_text(code[1], encoding="utf-8")
        monkeypatch.setattr(found, "__path__", [*found.__path__, str(tmp_path)])
        importlib.invalidate_caches()
        assert f"guide-{package}" in registry.names(package)
        return registry.load(package, name)

    return put


def test_the_method_yields_an_edit_for_each_layer(dropped_in):
    method = dropped_in("methods")
    context = SimpleNamespace(layers=["a", "b"], weight=lambda _: torch.ones(2, 3))
    edits = list(method.edits(context, method.Options(scale=0.5)))
    assert [edit.layer for edit in edits] == ["a", "b"]
    assert torch.equal(edits[0].delta(), -0.5 * torch.ones(2, 3))


def test_the_metric_finds_no_change_in_one_checkpoint(dropped_in):
    metric, same = dropped_in("metrics"), Table(knowing(), ranking())
    record = metric.measure(same, same, probe(), metric.Options())
    assert record.before == record.after > 0
    assert record.unit == "words"


def test_the_attack_writes_a_score_with_its_control(dropped_in):
    attack = dropped_in("attacks")
    found = attack.attack(Table(knowing()), Table(knowing("panda")), probe(forget=4, retain=2), attack.Options())
    record = scores_of("guide-attacks", found)["attack_guide_attacks"]
    assert record.before > record.after == 0
    assert record.control is not None
