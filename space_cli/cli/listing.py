"""`space list`: the plug-ins there are, each with the first line of its file."""

import ast

from importlib import resources
from typing import Annotated, Literal

import typer

from space_cli.cli import options
from space_cli.cli.render import Sheet, Terminal
from space_cli.cli.streams import write_line
from space_cli.core import registry


def listing(
    plugins: Annotated[
        Literal["methods", "families", "metrics", "encoders", "attacks"],
        typer.Argument(metavar="KIND", help="Which plug-ins to list", show_default=False),
    ],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """List methods, families, metrics, encoders or attacks."""
    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = {_spelt(plugins, name): summary(plugins, name) for name in registry.names(plugins)}
    terminal.sheet(Sheet(plugins, ("name", "what it is"), list(found.items())))
    if quiet and not as_json:
        for name in found:
            write_line(name)
    terminal.result([{"name": name, "summary": text} for name, text in found.items()], None)


def _spelt(package: str, name: str) -> str:
    """Spell a metric as its score is spelt everywhere else."""
    return name.replace("-", "_") if package == "metrics" else name


def summary(package: str, name: str) -> str:
    """Return the first line of a plug-in's docstring; the file is parsed, never imported."""
    source = resources.files(f"space_cli.{package}").joinpath(f"{name.replace('-', '_')}.py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
