"""The options that several commands share, grouped into panels of the help."""

import json
import os
import shlex

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from space_cli.cli import settings
from space_cli.core.errors import UsageFault

DEFAULT_ENCODER = "openai/clip-vit-large-patch14-336"
"""The tower of LLaVA-1.5 with its text half, so that pool and model see alike."""

CONCEPT = "Concept"
INPUTS = "Inputs"
METHOD = "Method"
LIMITS = "Limits"
OUTPUT = "Output"
DANGER = "Dangerous options"


def _debug(ctx: typer.Context, value: bool) -> bool:
    if value:
        ctx.ensure_object(settings.Invocation).debug = True
    return value


def _as_json(ctx: typer.Context, value: bool) -> bool:
    ctx.ensure_object(settings.Invocation).as_json = value
    return value


def _dry_run(ctx: typer.Context, value: bool) -> bool:
    ctx.ensure_object(settings.Invocation).dry_run = value
    return value


def _method(ctx: typer.Context, value: str) -> str:
    ctx.ensure_object(settings.Invocation).method = value
    return value


Alias = Annotated[
    list[str] | None,
    typer.Option("--alias", help="Another name of the concept; repeatable", rich_help_panel=CONCEPT),
]
HiddenAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--alias",
        help="Another name of the concept, with `--concept`; else aliases belong in `concepts.toml` of --images; "
        "repeatable",
        rich_help_panel=CONCEPT,
    ),
]
Phrase = Annotated[
    str,
    typer.Option(
        "--phrase", help="The name with its article, such as `a panda`; guessed if not given", rich_help_panel=CONCEPT
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", help="What kind of thing it is, such as `person`", rich_help_panel=CONCEPT),
]
PseudonymKey = Annotated[
    Path | None,
    typer.Option(
        "--pseudonym-key-file",
        metavar="FILE",
        help="File with the key of the pseudonym; the text of SPACE_PSEUDONYM_KEY if not given",
        rich_help_panel=CONCEPT,
    ),
]
Encoder = Annotated[
    str, typer.Option("--encoder", help="CLIP or SigLIP checkpoint: hub id or folder", rich_help_panel=INPUTS)
]
Revision = Annotated[
    str | None, typer.Option("--revision", help="Branch, tag or commit on the hub", rich_help_panel=INPUTS)
]
Scope = Annotated[
    Literal["connector", "blocks", "mlp", "vision", "all"],
    typer.Option("--scope", help="Which layers may change", rich_help_panel=METHOD),
]
Method = Annotated[
    str,
    typer.Option(
        "--method", callback=_method, help="Name of the method, from `space list methods`", rich_help_panel=METHOD
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="An option of the method, as `steps=40`; repeatable", rich_help_panel=METHOD
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="SHA",
        help="SHA-256 of a pool image that must not be used; repeatable",
        rich_help_panel=INPUTS,
    ),
]
AllowLeaks = Annotated[
    bool,
    typer.Option("--allow-leaks", help="Keep images that the model names as the concept", rich_help_panel=DANGER),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N", rich_help_panel=LIMITS)]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Random seed; the same seed gives the same bytes", rich_help_panel=METHOD)
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="Exit 0 whatever the verdict", rich_help_panel=OUTPUT)]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder to write; the workspace's own if not given", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier run wrote", rich_help_panel=OUTPUT)
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        callback=_dry_run,
        help="Print the plan, reading headers only, then stop",
        rich_help_panel=OUTPUT,
    ),
]
DryErasure = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        callback=_dry_run,
        help="Print the plan, reading headers only, then stop; the memory is that of a CPU in float32, and the least "
        "that a GPU needs; a hub checkpoint is downloaded whole for it",
        rich_help_panel=OUTPUT,
    ),
]
Place = Annotated[
    Path, typer.Option("--workspace", help="Folder that holds the results of all stages", rich_help_panel=OUTPUT)
]
AsJson = Annotated[
    bool,
    typer.Option("--json", callback=_as_json, help="Print the result as JSON, alone on stdout", rich_help_panel=OUTPUT),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only the path, and nothing on stderr", rich_help_panel=OUTPUT),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=settings.load,
        is_eager=True,
        envvar="SPACE_CONFIG",
        show_envvar=False,
        help="TOML file of options; `./space.toml` if not given",
        rich_help_panel=OUTPUT,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        callback=_debug,
        is_eager=True,
        envvar="SPACE_DEBUG",
        show_envvar=False,
        help="Show the traceback of an error",
        rich_help_panel=OUTPUT,
    ),
]
DEFAULT_PLACE = Path(".space")


def parse_set(pairs: list[str] | None) -> dict[str, Any]:
    """Read `key=value` options: a value is JSON where it can be, else text.

    Raises:
        UsageFault: A pair has no `=` or no key.

    Example:
        >>> parse_set(["steps=40", "loss=npo", "layers=[1, 2]"])
        {'steps': 40, 'loss': 'npo', 'layers': [1, 2]}
    """
    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageFault(f"`--set {pair}` is not a pair", hint="write `--set key=value`")
        found[key.strip()] = _json_or_text(value)
    return found


def budgets(pairs: list[str] | None) -> dict[str, dict[str, Any]]:
    """Read `name.key=value` options of metrics and attacks, by the name of the plug-in's file.

    Raises:
        UsageFault: A pair has no `=` or names no option.

    Example:
        >>> budgets(["relearn.rank=4", "relearn.steps=20"])
        {'relearn': {'rank': 4, 'steps': 20}}
    """
    found: dict[str, dict[str, Any]] = {}
    for key, value in parse_set(pairs).items():
        name, dot, option = key.partition(".")
        if not dot or not option:
            raise UsageFault(f"`--set {key}=…` names no option", hint="write `--set relearn.rank=4`")
        found.setdefault(name.replace("-", "_"), {})[option] = value
    return found


def local_or_id(name: str) -> str:
    """Return a folder as an absolute path, and anything else as the hub id it must be."""
    path = os.path.expanduser(name)
    # os.path, unlike pathlib, answers False to a name that no file can have.
    return os.path.abspath(path) if os.path.isdir(path) else name


def image_folder(folder: str) -> str:
    """Return the folder of `--images` as an absolute path.

    Raises:
        UsageFault: It is none.
    """
    path = os.path.abspath(os.path.expanduser(folder))
    if not os.path.isdir(path):
        raise UsageFault(
            f"`{folder}` is no folder: one with a sub-folder of images per concept is needed",
            hint="pass `--images probe` where a picture is `probe/red_panda/01.jpg`",
        )
    return path


def command_line(*words: str | Path, workspace: Path = DEFAULT_PLACE) -> str:
    """Spell a command as a shell would read it, with the workspace where it is not the default."""
    extra = () if workspace == DEFAULT_PLACE else ("--workspace", str(workspace))
    return shlex.join(str(word) for word in ("space", *words, *extra))


def _json_or_text(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return value


Moved = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="KIND=PATH",
        help="Where an input is now, as `checkpoint=DIR`; repeatable",
        rich_help_panel=INPUTS,
    ),
]


def places(given: Sequence[str] | None) -> dict[str, Path]:
    """Return the folders of `--input KIND=PATH`, by kind.

    Raises:
        UsageFault: One is written otherwise.
    """
    from space_cli.core.records import SourceKind

    found: dict[str, Path] = {}
    for one in given or ():
        kind, _, path = one.partition("=")
        if kind not in get_args(SourceKind) or not path:
            kinds = ", ".join(get_args(SourceKind))
            raise UsageFault(f"`--input {one}` is no place of an input", hint=f"write KIND=PATH; kinds are {kinds}")
        found[kind] = Path(path).expanduser().absolute()
    return found
