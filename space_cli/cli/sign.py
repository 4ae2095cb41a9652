"""`space sign`: a signature beside a folder, made with a private key."""

from pathlib import Path
from typing import Annotated

import typer

from space_cli.cli import options
from space_cli.cli.render import Terminal


def sign(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A pool, anchors, erased or audit folder", show_default=False)
    ],
    private_key: Annotated[
        Path,
        typer.Option(
            "--private-key",
            metavar="PEM",
            help="Elliptic-curve private key, unencrypted, as PEM",
            rich_help_panel=options.INPUTS,
            show_default=False,
        ),
    ],
    signature: Annotated[
        Path | None,
        typer.Option(
            "--signature",
            metavar="FILE",
            help="Where to write the signature; `FOLDER.sig` if not given",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Sign every file of a folder, so that others can check who vouches for it."""
    from space_cli.io.signing import place_beside
    from space_cli.stages.sign import sign as run

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = folder.expanduser().absolute()
    target = (signature.expanduser() if signature else place_beside(place)).absolute()
    run(place, target, private_key=private_key.expanduser(), overwrite=overwrite)
    terminal.say(f"signed: {place}")
    terminal.say(f"signature: {target}")
    terminal.result({"folder": str(place), "signature": str(target)}, target)
    terminal.hint(options.command_line("verify", place, "--signature", target, "--public-key", "KEY.pub.pem"))
