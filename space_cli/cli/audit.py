"""`space audit`: what the edited checkpoint still knows, and what it lost."""

import json
import os

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from space_cli.cli import options
from space_cli.cli import settings as settings_of
from space_cli.cli.pseudonymize import hiding
from space_cli.cli.render import Sheet, Terminal
from space_cli.core.errors import UsageFault
from space_cli.core.offering import nearest, offered

if TYPE_CHECKING:
    from space_cli.cli.pseudonymize import Hidden
    from space_cli.core.recipe import AuditRequest, Concept
    from space_cli.core.records import AuditReport

FAILED = 3
SHOWN = {"forget": 3, "neighbour": 3, "retain": 2}
"""Answers printed after a demo, by role: a screen holds them."""


def audit(  # ruff: ignore[too-many-arguments] - each parameter is an option
    ctx: typer.Context,
    erased: Annotated[
        Path | None,
        typer.Argument(metavar="ERASED", help="Erased checkpoint; the workspace's if not given", show_default=False),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Folder with one sub-folder of test images per concept",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    pseudonymize: Annotated[
        bool,
        typer.Option(
            "--pseudonymize", help="Write a keyed hash in place of the concept's name", rich_help_panel=options.CONCEPT
        ),
    ] = False,
    pseudonym_key_file: options.PseudonymKey = None,
    concept: Annotated[
        str | None,
        typer.Option(
            "--concept", help="What was erased, if the folder is pseudonymized", rich_help_panel=options.CONCEPT
        ),
    ] = None,
    alias: options.HiddenAlias = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Another name for the forced choice; repeatable", rich_help_panel=options.INPUTS),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            help="Metrics by name, from `space list metrics`; repeatable; `all` adds the optional ones",
            rich_help_panel=options.METHOD,
        ),
    ] = None,
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attacks",
            help="Attacks by name, from `space list attacks`; repeatable; `all` runs every one; none if not given",
            rich_help_panel=options.METHOD,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME.OPTION=VALUE",
            help="An option of a metric or an attack, as `relearn.rank=4`; repeatable; recorded in the report",
            rich_help_panel=options.METHOD,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="NAME|TOML",
            help="Rules of the verdict: default, strict, report-only or a file",
            rich_help_panel=options.METHOD,
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="ERASED",
            help="Another erased checkpoint to measure beside this one",
            rich_help_panel=options.INPUTS,
        ),
    ] = None,
    inputs: options.Moved = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Use at most this many images per concept", rich_help_panel=options.LIMITS),
    ] = None,
    exit_zero: options.ExitZero = False,
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
    """Measure an erasure before and after; exits 3 unless every rule of the policy passes."""
    from space_cli.cli import chain, outputs
    from space_cli.cli.workspace import open_workspace, require
    from space_cli.core.recipe import AuditRequest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    for line in settings_of.given_elsewhere(ctx):
        terminal.note(line)
    place = open_workspace(workspace)
    folder = outputs.output(out, place.audit)
    chain.check_device(device)
    given = AuditRequest(
        erased=str((erased or place.erased).expanduser().absolute()),
        # A folder that is not there is refused below, where the error may no longer name the concept.
        images=options.image_folder(images) if images and os.path.isdir(os.path.expanduser(images)) else None,
        pseudonymize=pseudonymize,
        concept=_concept(concept, alias),
    )
    # What can be checked without the folder is checked before it is missed; once it is there, errors are masked.
    there = chain.is_finished(given.erased)
    with hiding(terminal, given, pseudonym_key_file) if there else nullcontext() as hidden:
        more = {
            "images": None if images is None else options.image_folder(images),
            "names": tuple(name or ()),
            "metrics": _plugins("metric", metrics or []),
            "attacks": _plugins("attack", attacks or []),
            "budgets": options.budgets(settings),
            "policy": _policy(policy),
            "baseline": str(baseline.expanduser().absolute()) if baseline else None,
            "inputs": {kind: str(path) for kind, path in options.places(inputs).items()},
            "limit": limit,
            "device": device,
            "seed": seed,
        }
        request = AuditRequest.model_validate(given.model_dump() | more)
        records = [require(Path(one), "erased") for one in (request.erased, request.baseline) if one]
        read = (request.erased, request.baseline, *request.inputs.values(), *outputs.recorded(records))
        outputs.refuse_place(folder, read, pictures=[request.images])
        if dry_run:
            terminal.plan({"audit": chain.plan("audit", request)}, folder)
            return
        report = run(request, folder, terminal, overwrite=overwrite, hidden=hidden)
        conclude(terminal, report, folder, exit_zero=exit_zero)


def run(
    request: "AuditRequest", folder: Path, terminal: Terminal, *, overwrite: bool, hidden: "Hidden | None" = None
) -> "AuditReport":
    """Run the stage, or reuse its report where the same audit was done on the same checkpoint."""
    from space_cli.cli.workspace import done_already, forbid_existing
    from space_cli.core.masking import masked
    from space_cli.core.records import AuditReport

    done = None if overwrite else done_already(folder, masked(request, hidden.pseudonym) if hidden else request)
    if isinstance(done, AuditReport):
        from space_cli.stages.verify import refuse_altered

        refuse_altered(folder, done)
        terminal.note(f"audit: done already in `{folder}`, reused")
        return done
    forbid_existing(folder, overwrite=overwrite)
    from space_cli.stages.audit import audit as measure

    key = {"key": hidden.key} if hidden else {}
    return measure(request, folder, progress=terminal, overwrite=overwrite, **key)


def conclude(terminal: Terminal, report: "AuditReport", folder: Path, *, exit_zero: bool) -> None:
    """Print the outcome of an audit and leave with its exit code.

    Raises:
        typer.Exit: With 3 where the verdict is not `pass`.
    """
    from space_cli.cli.show import sheets

    for sheet in sheets(report):
        terminal.sheet(sheet)
    terminal.say(f"verdict: {report.verdict}")
    for gate in report.gates:
        if gate.verdict != "pass":
            terminal.say(f"  {gate.verdict}: {gate.reason}")
    terminal.say(f"report: {folder / 'report.html'}")
    _append_step_summary(folder, terminal)
    terminal.result(summary(report, folder), folder)
    terminal.hint(options.command_line("verify", folder))
    if report.verdict != "pass" and not exit_zero:
        raise typer.Exit(FAILED)


def summary(report: "AuditReport", folder: Path) -> dict[str, Any]:
    """Return what `--json` prints: the verdict, its scores, and what the whole chain cost."""
    from space_cli.cli.workspace import stage_seconds

    # Through pydantic's JSON, which writes null for the NaN that JSON has no word for.
    whole = json.loads(report.model_dump_json())
    return {
        "verdict": whole["verdict"],
        "concept": whole["concept"],
        "scores": whole["scores"],
        **({"baseline": whole["baseline"]} if report.baseline else {}),
        "seconds": stage_seconds(report),
        "gates": whole["gates"],
        "skipped": whole["skipped"],
        "report": str(folder / "report.html"),
    }


def answers(folder: Path) -> Sheet | None:
    """Return a few answers before and after, about the concept, its neighbours and the rest."""
    path = folder / "samples.jsonl"
    if not path.is_file():
        return None
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    shown = [row for role, count in SHOWN.items() for row in [r for r in rows if r["role"] == role][:count]]
    keys = ("name", "question", "before", "after")
    return Sheet("answers", ("picture of", *keys[1:]), [[row[key] for key in keys] for row in shown])


def _concept(name: str | None, aliases: list[str] | None) -> "Concept | None":
    from space_cli.cli.chain import make_concept

    if name is None:
        if aliases:
            raise UsageFault(
                "`--alias` needs `--concept`: without it the receipt names them",
                hint="give further names under `aliases` in `concepts.toml`",
            )
        return None
    return make_concept(name, aliases, "", None)


def _plugins(kind: str, names: list[str]) -> tuple[str, ...]:
    """Accept `--metrics a --metrics b` and `--metrics a,b`, refusing what no file of this kind does."""
    from space_cli.core import registry

    asked = [part.strip().replace("-", "_") for name in names for part in name.split(",") if part.strip()]
    known = {"all", *(name.replace("-", "_") for name in registry.names(f"{kind}s"))}
    for name in asked:
        if name not in known:
            raise UsageFault(f"unknown {kind} `{name}`: {offered(name, sorted(known))}", hint=f"space list {kind}s")
    return tuple(asked)


def _policy(policy: str | None) -> str | None:
    """Return the name of a shipped policy as it is, and anything else as the file it must be."""
    from space_cli.io.probe import shipped_policies

    shipped = shipped_policies()
    if policy is None or policy in shipped:
        return policy
    found = os.path.abspath(os.path.expanduser(policy))
    if not os.path.isfile(found):
        meant = f": did you mean `{near}`?" if (near := nearest(policy, shipped)) else ""
        raise UsageFault(f"the policy `{policy}` is not a file{meant}", hint=f"shipped are {', '.join(shipped)}")
    return found


def _append_step_summary(folder: Path, terminal: Terminal) -> None:
    """Add the audit to the page of a GitHub job, where there is one."""
    page, summary_file = os.environ.get("GITHUB_STEP_SUMMARY"), folder / "summary.md"
    if not page or not summary_file.is_file():
        return
    try:
        with open(page, "a", encoding="utf-8") as stream:
            stream.write(summary_file.read_text(encoding="utf-8"))
    except OSError as failure:
        # The audit is done; its exit code must not depend on the page of the job.
        terminal.note(f"`{page}` cannot be written: {failure.strerror}")
