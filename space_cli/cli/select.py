"""`space select`: a concept's name into anchors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from space_cli.cli import options
from space_cli.cli.render import Terminal

if TYPE_CHECKING:
    from space_cli.core.recipe import SelectRequest
    from space_cli.core.records import Record


def select(  # ruff: ignore[too-many-arguments] - each parameter is an option
    concept: Annotated[str, typer.Argument(metavar="CONCEPT", help="Name of the concept to erase", show_default=False)],
    alias: options.Alias = None,
    phrase: options.Phrase = "",
    kind: options.Kind = None,
    pool: Annotated[
        Path | None,
        typer.Option("--pool", help="Finished pool; the workspace's if not given", rich_help_panel=options.INPUTS),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Checkpoint that ranks the images and leaves out those that it names as the concept",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    revision: options.Revision = None,
    exclude: options.Exclude = None,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates",
            min=1,
            help="Number of nearest images that the checkpoint ranks",
            rich_help_panel=options.METHOD,
        ),
    ] = 192,
    anchors: Annotated[
        int, typer.Option("--anchors", min=1, help="Number of anchors to train on", rich_help_panel=options.METHOD)
    ] = 48,
    holdout: Annotated[
        int,
        typer.Option(
            "--holdout", min=0, help="Number of anchors to keep for the audit", rich_help_panel=options.METHOD
        ),
    ] = 16,
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=0, help="Number of near images to retain", rich_help_panel=options.METHOD)
    ] = 240,
    general: Annotated[
        int, typer.Option("--general", min=1, help="Number of other images to retain", rich_help_panel=options.METHOD)
    ] = 720,
    ranking: Annotated[
        Literal["activation", "similarity", "random"],
        typer.Option("--ranking", help="How candidates are ranked", rich_help_panel=options.METHOD),
    ] = "activation",
    floor: Annotated[
        float | None,
        typer.Option(
            "--floor", help="Lowest similarity to the name; calibrated if not given", rich_help_panel=options.METHOD
        ),
    ] = None,
    min_anchors: Annotated[
        int,
        typer.Option("--min-anchors", min=1, help="Refuse if fewer anchors are found", rich_help_panel=options.METHOD),
    ] = 8,
    allow_leaks: options.AllowLeaks = False,
    allow_unknown: Annotated[
        bool,
        typer.Option(
            "--allow-unknown",
            help="Continue although the model does not seem to know the concept; for a concept that you saw it name",
            rich_help_panel=options.METHOD,
        ),
    ] = False,
    scope: options.Scope = "mlp",
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
    """Choose pool images that stand in for a concept; none of them has to show it."""
    from space_cli.cli import chain, outputs
    from space_cli.cli.show import sheets
    from space_cli.cli.workspace import open_workspace, require
    from space_cli.core.recipe import SelectRequest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = open_workspace(workspace)
    folder = outputs.output(out, place.anchors)
    chosen_pool = (pool or place.pool).expanduser().absolute()
    wanted = chain.make_concept(concept, alias, phrase, kind)
    chain.check_device(device)
    request = SelectRequest(
        concept=wanted,
        pool=str(chosen_pool),
        model=options.local_or_id(model) if model else None,
        revision=revision,
        candidates=candidates,
        anchors=anchors,
        holdout=holdout,
        neighbours=neighbours,
        general=general,
        ranking=ranking,
        floor=floor,
        min_anchors=min_anchors,
        allow_leaks=allow_leaks,
        allow_unknown=allow_unknown,
        exclude=tuple(exclude or ()),
        scope=scope,
        device=device,
        seed=seed,
    )
    require(chosen_pool, "pool")
    outputs.refuse_place(folder, [chosen_pool, request.model])
    if dry_run:
        terminal.plan({"select": chain.plan("select", request)}, folder)
        return
    manifest = _run(request, folder, terminal, overwrite=overwrite)
    terminal.record(manifest.model_dump_json(), folder, sheets(manifest))
    terminal.hint(_next(request, folder if out else None, workspace))


def _next(request: "SelectRequest", anchors: Path | None, workspace: Path) -> str:
    """Spell the erasure that these anchors are for: of the same revision, in the same layers."""
    from space_cli.core.recipe import SelectRequest

    model = request.model or "ID_OR_FOLDER"
    given = {"--anchors": anchors, "--model": model, "--revision": request.revision}
    if request.scope != SelectRequest.model_fields["scope"].default:
        given["--scope"] = request.scope
    words = (word for option, value in given.items() if value is not None for word in (option, str(value)))
    return options.command_line("erase", "--concept", request.concept.name, *words, workspace=workspace)


def _run(request: "SelectRequest", folder: Path, terminal: Terminal, *, overwrite: bool) -> "Record":
    """Run the stage, or reuse its result where the same request was done on the same inputs and is whole."""
    from space_cli.cli.chain import check_model
    from space_cli.cli.workspace import damage, done_already, forbid_existing

    if not overwrite and (done := done_already(folder, request)) is not None:
        if not (found := damage(folder, done)):
            terminal.note(f"select: done already in `{folder}`, reused")
            return done
        terminal.note(f"select: {found}; selecting again")
        overwrite = True
    forbid_existing(folder, overwrite=overwrite)
    if request.model:
        check_model(request.model, request.revision, request.scope)
    from space_cli.stages.select import select as run

    return run(request, folder, progress=terminal, overwrite=overwrite)
