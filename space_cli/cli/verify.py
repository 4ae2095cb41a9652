"""`space verify`: whether a folder, and all it came from, is still what was written."""

from pathlib import Path
from typing import Annotated

import typer

from space_cli.cli import options
from space_cli.cli.render import Sheet, Terminal

FAILED = 4


def verify(
    folder: Annotated[Path, typer.Argument(help="A pool, anchors, erased or audit folder", show_default=False)],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Check every digest of a folder, back to the original checkpoint; exits 4 if one differs."""
    from space_cli.stages.verify import verify as check

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = folder.expanduser().absolute()
    checks = check(place)
    passed = all(entry.passed for entry in checks)
    rows = [(entry.name, "ok" if entry.passed else "fail", entry.detail) for entry in checks]
    terminal.sheet(Sheet(f"checks of {place}", ("check", "verdict", "detail"), rows))
    terminal.say("verified" if passed else "not verified")
    found = [{"name": entry.name, "passed": entry.passed, "detail": entry.detail} for entry in checks]
    terminal.result({"verified": passed, "checks": found}, place)
    if not passed:
        raise typer.Exit(FAILED)
