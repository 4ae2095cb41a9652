"""`space verify`: whether a folder, and all it came from, is still what was written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from space_cli.cli import options
from space_cli.cli.render import Sheet, Terminal
from space_cli.core.errors import UsageFault

if TYPE_CHECKING:
    from space_cli.stages.verify import Signed

FAILED = 4


def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A pool, anchors, erased or audit folder", show_default=False)
    ],
    signature: Annotated[
        Path | None,
        typer.Option(
            "--signature",
            metavar="FILE",
            help="A signature of `space sign` that must hold; with `--public-key`",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            metavar="PEM",
            help="Elliptic-curve public key of the signer, as PEM",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    inputs: options.Moved = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Check every digest of a folder, back to the original checkpoint; exits 4 if one differs."""
    from space_cli.stages.verify import verify as check

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = folder.expanduser().absolute()
    checks = check(place, signed=_signed(signature, public_key), places=options.places(inputs))
    passed = all(entry.passed for entry in checks)
    rows = [(entry.name, "ok" if entry.passed else "fail", entry.detail) for entry in checks]
    terminal.sheet(Sheet(f"checks of {place}", ("check", "verdict", "detail"), rows))
    terminal.say("verified" if passed else "not verified")
    found = [{"name": entry.name, "passed": entry.passed, "detail": entry.detail} for entry in checks]
    terminal.result({"verified": passed, "checks": found}, place)
    if not passed:
        raise typer.Exit(FAILED)


def _signed(signature: Path | None, public_key: Path | None) -> "Signed | None":
    if signature is None and public_key is None:
        return None
    if signature is None or public_key is None:
        raise UsageFault(
            "`--signature` and `--public-key` need each other", hint="pass both, or neither to check the digests alone"
        )
    from space_cli.stages.verify import Signed

    return Signed(signature.expanduser(), public_key.expanduser())
