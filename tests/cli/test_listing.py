"""Plug-ins are listed from their files, none of which is imported."""

import json
import sys

import pytest

from space_cli.cli.app import run
from space_cli.cli.listing import summary
from space_cli.core import registry


@pytest.mark.parametrize("package", ["methods", "families", "metrics", "encoders", "attacks"])
def test_each_kind_lists_what_the_registry_names(package, capsys):
    assert run(["list", package, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"].replace("_", "-") for entry in listed] == registry.names(package)
    assert all(entry["summary"] for entry in listed)


def test_a_metric_is_spelt_as_its_score(capsys):
    assert run(["list", "metrics", "-q"]) == 0
    assert "forget_accuracy" in capsys.readouterr().out.split()


def test_a_new_file_is_listed_without_being_imported(tmp_path, monkeypatch, capsys):
    import space_cli.methods

    (tmp_path / "my_method.py").write_text('"""Do a new thing.\n\nAt length.\n"""\nraise RuntimeError\n')
    monkeypatch.setattr(space_cli.methods, "__path__", [str(tmp_path)])
    monkeypatch.setattr("space_cli.cli.listing.resources.files", lambda package: tmp_path)
    assert run(["list", "methods", "-q"]) == 0
    assert capsys.readouterr().out == "my-method\n"
    assert summary("methods", "my-method") == "Do a new thing."
    assert "space_cli.methods.my_method" not in sys.modules


def test_an_unknown_kind_is_a_usage_error(capsys):
    assert run(["list", "wishes"]) == 2
    assert "'wishes' is not one of" in capsys.readouterr().err
