"""`space index`: images into a searchable pool."""

from typing import Annotated

import typer

from space_cli.cli import options
from space_cli.cli.render import Terminal


def index(  # ruff: ignore[too-many-arguments] - each parameter is an option
    sources: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Folders, tar files or parquet files", show_default=False),
    ],
    encoder: options.Encoder = options.DEFAULT_ENCODER,
    revision: options.Revision = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", min=1, help="Images embedded at once", rich_help_panel=options.LIMITS),
    ] = 64,
    shard_size: Annotated[
        int,
        typer.Option(
            "--shard-size",
            min=1,
            help="Images per saved part; a killed run repeats one part at most",
            rich_help_panel=options.LIMITS,
        ),
    ] = 1024,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Threads that decode images", rich_help_panel=options.LIMITS)
    ] = 2,
    max_pixels: Annotated[
        int,
        typer.Option("--max-pixels", min=1, help="Leave out images with more pixels", rich_help_panel=options.LIMITS),
    ] = 64_000_000,
    max_errors: Annotated[
        int | None,
        typer.Option(
            "--max-errors",
            min=0,
            help="Fail if more images than this cannot be used; no limit if not given",
            rich_help_panel=options.LIMITS,
        ),
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    out: options.Out = None,
    workspace: options.Place = options.DEFAULT_PLACE,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Embed a pool of images; run it again to add new ones and drop removed ones."""
    from space_cli.cli import chain, outputs
    from space_cli.cli.show import sheets
    from space_cli.cli.workspace import open_workspace
    from space_cli.core.recipe import IndexRequest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    folder = outputs.output(out, open_workspace(workspace).pool)
    chain.check_device(device)
    request = IndexRequest(
        sources=tuple(chain.existing_source(source) for source in sources),
        encoder=options.local_or_id(encoder),
        revision=revision,
        batch_size=batch_size,
        shard_size=shard_size,
        workers=workers,
        max_pixels=max_pixels,
        max_errors=max_errors,
        device=device,
        seed=seed,
    )
    outputs.refuse_place(folder, [request.encoder], pictures=request.sources)
    if dry_run:
        terminal.plan({"index": chain.plan("index", request)}, folder)
        return
    from space_cli.stages.index import index as run

    manifest = run(request, folder, progress=terminal, overwrite=overwrite)
    terminal.record(manifest.model_dump_json(), folder, sheets(manifest))
    extra = () if out is None else ("--pool", str(folder))
    terminal.hint(options.command_line("select", "CONCEPT", *extra, workspace=workspace))
