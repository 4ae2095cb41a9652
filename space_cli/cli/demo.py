"""`space demo`: the whole chain on the bundled checkpoint, from nothing to a report."""

import json
import os
import re
import shutil

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from space_cli.cli import options
from space_cli.cli.render import Terminal
from space_cli.core.errors import UsageFault

if TYPE_CHECKING:
    from space_cli.bundled.concepts import Drawn
    from space_cli.cli.workspace import Workspace
    from space_cli.core.records import AuditReport

NOTE = "demo.json"
"""What this demo was asked for; its presence also marks the folder as ours to replace."""


@dataclass(frozen=True)
class Order:
    """What a demo is asked to show."""

    concept: str
    method: str
    options: dict[str, Any]
    scope: str
    seed: int
    device: str
    forget_images: str | None


def demo(  # ruff: ignore[too-many-arguments] - each parameter is an option
    ctx: typer.Context,
    concept: Annotated[
        str,
        typer.Option(
            "--concept",
            help="What to erase, of the things that the checkpoint knows",
            rich_help_panel=options.CONCEPT,
        ),
    ] = "panda",
    forget_images: Annotated[
        str | None,
        typer.Option(
            "--forget-images",
            help="Folder of images, for methods that train on them; drawn if not given",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    method: options.Method = "dcsi",
    settings: options.Set = None,
    scope: options.Scope = "mlp",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    exit_zero: options.ExitZero = False,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", help="`.space/demo-CONCEPT` if not given", rich_help_panel=options.OUTPUT),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Erase one thing from the bundled checkpoint and show what it answers before and after."""
    from space_cli.bundled.checkpoint import weights_folder
    from space_cli.bundled.demo import FORGET_VIEWS, known, write_forget
    from space_cli.bundled.drawings import font_path
    from space_cli.cli import chain
    from space_cli.cli.audit import answers, conclude
    from space_cli.cli.outputs import refuse_place
    from space_cli.cli.workspace import open_workspace
    from space_cli.io.places import real_place, sole_writer

    terminal = Terminal(as_json=as_json, quiet=quiet)
    drawn = known(concept)
    images = os.path.abspath(os.path.expanduser(forget_images)) if forget_images else None
    order = Order(drawn.name, method, options.parse_set(settings), scope, seed, device, images)
    chain.check_device(device)
    chain.check_method(method, order.options)
    drawing = images is None and chain.needs_images(method, order.options)
    if not drawing:
        chain.check_images(method, order.options, order.forget_images)
    font_path()
    weights_folder()
    place = open_workspace(_folder(ctx, workspace, drawn.name))
    refuse_place(place.folder, (), pictures=[images])
    folder = real_place(place.folder)
    # For as long as it runs: another demo of the concept would take the folder for a finished one, and replace it.
    with sole_writer(folder):
        _prepare(folder, order)
        if drawing:
            terminal.note(f"demo: drawing {FORGET_VIEWS} images of {drawn.phrase} for `{method}` to train on")
            order = replace(order, forget_images=str(write_forget(place.folder / "forget", drawn.name, seed=seed)))
        report = _run(place, drawn, order, terminal)
    if (sheet := answers(place.audit)) is not None:
        terminal.sheet(sheet)
    conclude(terminal, report, place.audit, exit_zero=exit_zero)


def _run(place: "Workspace", drawn: "Drawn", order: Order, terminal: Terminal) -> "AuditReport":
    from space_cli.bundled.checkpoint import checkpoint_folder, encoder_folder
    from space_cli.bundled.demo import write_pool, write_probe
    from space_cli.cli import audit, chain
    from space_cli.cli.workspace import is_complete
    from space_cli.core.recipe import AuditRequest, Concept, EraseRequest

    request = EraseRequest.model_validate(
        {
            **asdict(order),
            "concept": Concept(name=drawn.name, phrase=drawn.phrase, kind=drawn.kind),
            "model": str(checkpoint_folder()),
            "anchors": str(place.anchors),
        }
    )
    pool = place.pool
    if not is_complete(place.pool, "pool"):
        terminal.note(f"demo: drawing a pool without {drawn.phrase}")
        pool = write_pool(place.folder / "images", drawn.name, seed=order.seed)
    wish = chain.Wish(str(pool), str(encoder_folder()))
    if not is_complete(place.erased, "erased"):
        from space_cli.stages.erase import erase

        model = chain.check_model(request.model, None, request.scope)
        chain.ensure_anchors(place, request, wish, model, terminal)
        terminal.note(f"erase: {drawn.name}")
        erase(request, place.erased, progress=terminal, overwrite=False)
    terminal.note(f"audit: drawings that erasing never saw, {drawn.phrase} among them")
    probe = write_probe(place.folder / "probe", drawn.name, seed=order.seed)
    asked = AuditRequest(erased=str(place.erased), images=str(probe), device=order.device, seed=order.seed)
    return audit.run(asked, place.audit, terminal, overwrite=False)


def _prepare(folder: Path, order: Order) -> None:
    """Continue an unfinished demo of the same order; replace any other.

    Raises:
        UsageFault: The folder holds something that is not a demo.
    """
    wanted = json.dumps(asdict(order), sort_keys=True)
    note = folder / NOTE
    if note.is_file():
        if note.read_text(encoding="utf-8") == wanted and not (folder / "audit").exists():
            return
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise UsageFault(f"`{folder}` holds no demo: it will not be replaced", hint="choose another `--workspace`")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(wanted, encoding="utf-8")


def _folder(ctx: typer.Context, workspace: Path | None, concept: str) -> Path:
    """Return the flag's folder, else one inside the workspace, so that no other work is replaced."""
    source = ctx.get_parameter_source("workspace")
    if workspace is not None and source is not None and source.name == "COMMANDLINE":
        return workspace
    slug = re.sub(r"[^a-z0-9]+", "-", concept.lower()).strip("-")
    return (workspace or options.DEFAULT_PLACE) / f"demo-{slug}"
