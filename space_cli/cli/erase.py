"""`space erase`: a checkpoint into one that no longer knows the concept."""

import os

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from space_cli.cli import options
from space_cli.cli.render import Terminal

if TYPE_CHECKING:
    from space_cli.cli.chain import Wish
    from space_cli.cli.workspace import Workspace
    from space_cli.core.recipe import Concept, EraseRequest

LOSS_ON = "loss_on"
"""The option that `--loss-on` sets."""


def erase(  # ruff: ignore[too-many-arguments] - each parameter is an option
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Checkpoint: hub id or folder", rich_help_panel=options.INPUTS, show_default=False
        ),
    ],
    concept: Annotated[
        list[str] | None,
        typer.Option("--concept", help="Name of the concept to erase; repeatable", rich_help_panel=options.CONCEPT),
    ] = None,
    concepts_file: Annotated[
        Path | None,
        typer.Option(
            "--concepts-file",
            metavar="FILE",
            help="File with more concepts, one per line",
            rich_help_panel=options.CONCEPT,
        ),
    ] = None,
    revision: options.Revision = None,
    alias: options.Alias = None,
    phrase: options.Phrase = "",
    kind: options.Kind = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", help="Finished pool, or images to index first", rich_help_panel=options.INPUTS),
    ] = None,
    anchors: Annotated[
        Path | None,
        typer.Option(
            "--anchors",
            metavar="DIR",
            help="Finished anchors of this concept, never replaced; the workspace's if not given",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    encoder: options.Encoder = options.DEFAULT_ENCODER,
    exclude: options.Exclude = None,
    allow_leaks: options.AllowLeaks = False,
    forget_images: Annotated[
        str | None,
        typer.Option(
            "--forget-images",
            help="Folder of images of the concept, for methods that train on them",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    method: options.Method = "dcsi",
    settings: options.Set = None,
    loss_on: Annotated[
        Literal["answer", "all"] | None,
        typer.Option(
            "--loss-on",
            help="Tokens that the loss counts, for methods that train on images: the answer's, or the question's too",
            rich_help_panel=options.METHOD,
        ),
    ] = None,
    scope: options.Scope = "mlp",
    max_change: Annotated[
        float,
        typer.Option(
            "--max-change", help="Largest relative change of a layer, ||ΔW||/||W||", rich_help_panel=options.LIMITS
        ),
    ] = 0.4,
    max_retain_kl: Annotated[
        float,
        typer.Option(
            "--max-retain-kl",
            help="Refuse if answers about other things change more than this, in nats per token",
            rich_help_panel=options.LIMITS,
        ),
    ] = 0.05,
    max_neighbour_loss: Annotated[
        float,
        typer.Option(
            "--max-neighbour-loss",
            help="Refuse if more than this share of surely named neighbours gets another name",
            rich_help_panel=options.LIMITS,
        ),
    ] = 0.05,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    out: options.Out = None,
    workspace: options.Place = options.DEFAULT_PLACE,
    overwrite: options.Overwrite = False,
    dry_run: options.DryErasure = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Erase concepts from a checkpoint; runs `index` and `select` first if their results are missing or stale."""
    from space_cli.cli import chain, outputs, requests
    from space_cli.cli.show import sheets
    from space_cli.cli.workspace import forbid_existing, open_workspace, require
    from space_cli.core.recipe import EraseRequest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = open_workspace(workspace)
    if anchors is not None:
        place = replace(place, chosen=anchors.expanduser().absolute())
        require(place.anchors, "anchors")
    folder = outputs.output(out, place.erased)
    names = requests.read_names(concept or [], concepts_file)
    details = {
        "--alias": alias,
        "--phrase": phrase,
        "--kind": kind,
        "--anchors": anchors,
        "--forget-images": forget_images,
    }
    requests.forbid_details(names, details)
    concepts = [_recorded_concept(place, chain.make_concept(name, alias, phrase, kind)) for name in names]
    request = EraseRequest(
        concept=concepts[0],
        model=options.local_or_id(model),
        revision=revision,
        anchors=str(place.anchors),
        forget_images=os.path.abspath(os.path.expanduser(forget_images)) if forget_images else None,
        method=method,
        options=_with_loss_on(options.parse_set(settings), method, loss_on),
        scope=scope,
        max_change=max_change,
        max_retain_kl=max_retain_kl,
        max_neighbour_loss=max_neighbour_loss,
        device=device,
        seed=seed,
    )
    wish = chain.Wish(pool, options.local_or_id(encoder), tuple(exclude or ()), allow_leaks)
    if not dry_run:
        forbid_existing(folder, overwrite=overwrite)
    chain.check_inputs(place, request, wish)
    if dry_run:
        plans = _plan(place, request, wish)
        terminal.plan(plans if len(names) == 1 else plans | {"requests": {"concepts": names}}, folder)
        return
    checkpoint = chain.check_model(request.model, revision, scope)
    earlier = requests.check_continued(checkpoint, folder, concepts, scope)
    read, pictures = (checkpoint, wish.encoder, place.anchors), (pool, request.forget_images)
    outputs.refuse_place(folder, (*read, place.pool), pictures=pictures)
    outputs.refuse_inside(place.folder, read, pictures=pictures)
    if earlier or len(names) > 1:
        receipt = requests.erase_each(requests.Run(place, folder, overwrite), request, concepts, wish, terminal)
    else:
        chain.ensure_anchors(place, request, wish, checkpoint, terminal, overwrite=overwrite)
        from space_cli.stages.erase import erase as run

        receipt = run(request, folder, progress=terminal, overwrite=overwrite)
    terminal.record(receipt.model_dump_json(), folder, sheets(receipt))
    words = ("audit",) if out is None else ("audit", str(folder))
    terminal.hint(options.command_line(*words, workspace=workspace))


def _with_loss_on(given: dict[str, Any], method: str, loss_on: str | None) -> dict[str, Any]:
    """Write `--loss-on` into the options of a method.

    Args:
        given: `--set`.
        method: `--method`.
        loss_on: The flag, or None.

    Raises:
        UsageFault: The method has no such option, or `--set` says otherwise.
    """
    if loss_on is None:
        return given
    from space_cli.core import registry
    from space_cli.core.errors import UsageFault

    def has_it(name: str) -> bool:
        return LOSS_ON in registry.load("methods", name).Options.model_fields

    if not has_it(method):
        able = ", ".join(name for name in registry.names("methods") if has_it(name))
        raise UsageFault(
            f"the method `{method}` has no choice of the tokens that its loss counts: `--loss-on {loss_on}`",
            hint=f"leave out `--loss-on`; methods that have it: {able}",
        )
    if given.get(LOSS_ON, loss_on) != loss_on:
        raise UsageFault(
            f"`--loss-on {loss_on}` and `--set {LOSS_ON}={given[LOSS_ON]}` contradict each other",
            hint="leave one of them out",
        )
    return given | {LOSS_ON: loss_on}


def _recorded_concept(place: "Workspace", given: "Concept") -> "Concept":
    """Take aliases, phrase and kind from the anchors where only the name was given again."""
    from space_cli.cli.chain import recorded_anchors

    recorded = recorded_anchors(place)
    only_named = not (given.aliases or given.phrase or given.kind)
    same = recorded is not None and recorded.request.concept.name == given.name
    return recorded.request.concept if recorded is not None and same and only_named else given


def _plan(place: "Workspace", request: "EraseRequest", wish: "Wish") -> dict[str, Any]:
    """Plan every stage that would run; a selection from a pool that is not there yet says so."""
    from space_cli.cli import chain

    plans: dict[str, Any] = {}
    indexing = chain.index_request(wish, request)
    if indexing is not None:
        plans["index"] = chain.plan("index", indexing)
    model = chain.check_model(request.model, request.revision, request.scope)
    recorded = chain.recorded_anchors(place)
    pool = chain.pool_of(place, request, wish, recorded)
    if indexing is not None:
        plans["select"] = {"waits_for": str(place.pool)}
    elif reason := chain.why_select(recorded, request, wish, pool=pool, model=model):
        chain.refuse_unfit(place, reason)
        selecting = chain.select_request(recorded, request, wish, pool)
        plans["select"] = {"reason": reason, **chain.plan("select", selecting)}
    plans["erase"] = chain.plan("erase", request)
    return plans
