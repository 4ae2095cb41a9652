"""Every command explains itself, and does so without waking torch."""

import inspect
import json
import subprocess
import sys

from pathlib import Path
from typing import get_args

import pytest
import typer

from space_cli.cli import audit, demo, erase, index, options, select
from space_cli.cli.app import app, run
from space_cli.cli.examples import EXAMPLES
from space_cli.core import recipe

COMMANDS = typer.main.get_command(app).commands
HEAVY = ["torch", "transformers", "faiss", "pydantic", "pyarrow", "numpy", "PIL"]


def test_the_commands_of_the_issue_are_there():
    assert set(COMMANDS) == {
        *("index", "select", "erase", "audit"),
        *("demo", "doctor", "show", "verify", "revert", "list"),
        *("sign", "pseudonymize"),
    }


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_help(name, capsys):
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert f"space {name}" in shown.out
    assert not shown.err
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        assert parameter.help or parameter.metavar, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_ends_with_examples_of_the_commands_page(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert run([name, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.partition("Examples:")[2].splitlines() if line.strip()]
    assert lines == [f"$ {line}" for line in EXAMPLES[name]]
    page = Path(__file__).parents[2] / "docs" / "commands" / f"{name}.md"
    assert set(lines) <= set(page.read_text(encoding="utf-8").splitlines())


def test_a_plan_that_downloads_says_so():
    helps = {
        name: parameter.help
        for name, command in COMMANDS.items()
        for parameter in command.params
        if "--dry-run" in parameter.opts
    }
    assert [name for name, text in helps.items() if "downloaded whole" in text] == ["erase"]
    assert "a CPU in float32" in helps["erase"]


def test_no_arguments_show_the_help_as_a_usage_error(capsys):
    assert run([]) == 2
    assert "The chain" in capsys.readouterr().out


def test_help_imports_nothing_heavy(child_environment):
    code = (
        "import sys, json, io, contextlib\n"
        "from space_cli.cli.app import run\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    code = run(['--help'])\n"
        f"print(json.dumps([code, [n for n in {HEAVY!r} if n in sys.modules]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=child_environment
    )
    assert json.loads(done.stdout) == [0, []]


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("space ")


@pytest.mark.parametrize(
    ("command", "request_type", "renamed"),
    [
        (index.index, recipe.IndexRequest, {}),
        (select.select, recipe.SelectRequest, {}),
        (erase.erase, recipe.EraseRequest, {}),
        (audit.audit, recipe.AuditRequest, {"name": "names"}),
        (demo.demo, recipe.EraseRequest, {}),
    ],
)
def test_defaults_are_those_of_the_request(command, request_type, renamed):
    fields = request_type.model_fields
    checked = 0
    for name, parameter in inspect.signature(command).parameters.items():
        field = fields.get(renamed.get(name, name))
        if field is None or field.is_required():
            continue
        assert (parameter.default or None) == (field.get_default(call_default_factory=True) or None), name
        checked += 1
    assert checked >= 3


def test_scopes_are_those_of_the_recipe():
    assert get_args(get_args(options.Scope)[0]) == get_args(recipe.Scope)
