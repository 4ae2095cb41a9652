"""`space revert`: an erased checkpoint back into its base."""

from pathlib import Path
from typing import Annotated

import typer

from space_cli.cli import options
from space_cli.cli.render import Terminal


def revert(  # ruff: ignore[too-many-arguments] - each parameter is an option
    erased: Annotated[Path, typer.Argument(metavar="ERASED", help="The erased checkpoint", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the restored checkpoint", show_default=False)],
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            help="Copy of the original checkpoint; the place in the receipt if not given",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Without the original: subtract the edits; exact up to rounding",
            rich_help_panel=options.DANGER,
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Undo an erasure: bit for bit if the original checkpoint is still there."""
    from space_cli.cli.outputs import recorded, refuse_place
    from space_cli.cli.workspace import forbid_existing, require

    terminal = Terminal(as_json=as_json, quiet=quiet)
    source, folder = (path.expanduser().absolute() for path in (erased, out))
    record = require(source, "erased")
    refuse_place(folder, [source, base, *recorded([record])])
    forbid_existing(folder, overwrite=overwrite)
    from space_cli.stages.revert import revert as restore

    made = restore(
        source,
        folder,
        base=base.expanduser().absolute() if base else None,
        approximate=approximate,
        overwrite=overwrite,
        progress=terminal,
    )
    terminal.say(f"written: {made.folder}")
    document = {"erased": str(source), "out": str(made.folder), "exact": made.exact, "how": made.how}
    terminal.result(document, made.folder)
