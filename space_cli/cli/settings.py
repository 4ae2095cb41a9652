"""Where an option's value comes from when no flag gives it: `SPACE_<OPTION>`, then `space.toml`."""

import difflib
import json
import os
import tomllib

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import typer

from space_cli.core.errors import UsageFault

FILE_NAME = "space.toml"
PREFIX = "SPACE_"
NEVER = {"help", "config", "debug", "version"}
"""Options that a file may not hold: they say how to read it, or end the run."""
SAID = {"exit_zero"}
"""Options that a file may not hold either: whoever changes it would turn every failed verdict into exit code 0."""


class _Parameter(Protocol):
    """What we read of a parameter; typer keeps the class itself private."""

    @property
    def name(self) -> str: ...
    @property
    def opts(self) -> list[str]: ...
    @property
    def nargs(self) -> int: ...


class _Command(Protocol):
    @property
    def params(self) -> Sequence[_Parameter]: ...


@dataclass
class Invocation:
    """What the entry point must know of a run when it fails."""

    debug: bool = False
    as_json: bool = False
    command: str = ""
    dry_run: bool = False
    method: str = ""  # of those commands that erase
    origins: dict[str, str] = field(default_factory=dict)  # parameter -> where its default was read


def load(ctx: typer.Context, path: Path | None) -> Path | None:
    """Offer the values of file and environment as defaults; an eager option callback.

    Args:
        ctx: The command about to run.
        path: `--config`; None reads `space.toml` of the current folder, where there is one.

    Returns:
        The file that was read, or None.

    Raises:
        UsageFault: The file is missing, not TOML, or holds a key that no option has.
    """
    if path is None and Path(FILE_NAME).is_file():
        path = Path(FILE_NAME)
    invocation = ctx.ensure_object(Invocation)
    invocation.command = str(ctx.info_name)
    values: dict[str, Any] = {}
    if path is not None:
        values = _file_values(ctx, path)
        invocation.origins.update(dict.fromkeys(values, f"`{path}`"))
    for name, variable, value in _environment_values(ctx):
        values[name] = value
        invocation.origins[name] = f"the environment variable `{variable}`"
    ctx.default_map = values
    return path


def given_elsewhere(ctx: typer.Context) -> list[str]:
    """Say which options of a command have their value from a file or the environment, one line for each of those."""
    origins = ctx.ensure_object(Invocation).origins
    taken: dict[str, list[str]] = {}
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "DEFAULT_MAP":
            taken.setdefault(origins[str(parameter.name)], []).append(parameter.opts[0])
    return [f"from {origin}: {', '.join(options)}" for origin, options in taken.items()]


def _file_values(ctx: typer.Context, path: Path) -> dict[str, Any]:
    document = _read(path)
    commands = _commands(ctx)
    shared = {key: value for key, value in document.items() if not _is_command_table(key, value, commands)}
    everywhere = {key for command in commands.values() for key in _parameters(command)}
    _refuse_unknown(shared, everywhere, commands, path)
    for name in document.keys() - shared.keys():
        _refuse_unknown(document[name], set(_parameters(commands[name])), {}, path, table=name)
    mine = _parameters(ctx.command)
    own = document.get(str(ctx.info_name), {}) if ctx.info_name not in shared else {}
    chosen = {_spell(key): value for key, value in (*shared.items(), *own.items())}
    return {
        mine[key].name: _fit(mine[key], value, f"`{key}` in `{path}`") for key, value in chosen.items() if key in mine
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as failure:
        raise UsageFault(
            f"`{path}` cannot be read: {failure.strerror}",
            hint="check its path and permissions, or name another file with `--config`",
        ) from None
    except (ValueError, RecursionError) as failure:  # not UTF-8, or a number too long, or lists nested too deep
        raise UsageFault(
            f"`{path}` is not TOML: {failure}",
            hint="write `key = value`, one a line and text in quotes, and save it as UTF-8",
        ) from None


def _is_command_table(key: str, value: object, commands: Mapping[str, Any]) -> bool:
    return key in commands and isinstance(value, dict)


def _refuse_unknown(
    values: Mapping[str, Any], known: set[str], commands: Mapping[str, Any], path: Path, *, table: str = ""
) -> None:
    for key in values:
        place = f"[{table}] of `{path}`" if table else f"`{path}`"
        if _spell(key) in SAID & known:
            raise UsageFault(f"`{key}` may not be set in {place}", hint=f"pass `--{key.replace('_', '-')}` itself")
        if _spell(key) in known:
            continue
        near = difflib.get_close_matches(_spell(key), sorted(known | commands.keys()), n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(sorted(known))}"
        raise UsageFault(f"unknown key `{key}` in {place}", hint=hint)


def _environment_values(ctx: typer.Context) -> Iterator[tuple[str, str, Any]]:
    for key, parameter in _parameters(ctx.command).items():
        variable = PREFIX + key.upper()
        value = os.environ.get(variable)
        if value:
            parts = (part.strip() for part in value.split(";"))
            fitted = [part for part in parts if part] if _is_list(parameter) else value  # "a;" has one part
            yield parameter.name, variable, fitted


def _fit(parameter: _Parameter, value: object, place: str) -> object:
    """Turn a TOML value into what the command line would have given."""
    if not _is_list(parameter):
        if isinstance(value, dict | list):
            raise UsageFault(
                f"{place} takes one value, not a {'table' if isinstance(value, dict) else 'list'}",
                hint="give it one value; lists are for options that may be repeated, such as `--alias`",
            )
        return value
    if isinstance(value, dict):
        return [f"{key}={json.dumps(entry)}" for key, entry in value.items()]
    return value if isinstance(value, list) else [value]


def _is_list(parameter: _Parameter) -> bool:
    return bool(getattr(parameter, "multiple", False)) or parameter.nargs == -1


def _commands(ctx: typer.Context) -> "Mapping[str, _Command]":
    return getattr(ctx.find_root().command, "commands", {})


def _parameters(command: _Command) -> dict[str, _Parameter]:
    """Map each settable key of a command, `max_change` for `--max-change`, to its parameter."""
    return {
        key: parameter
        for parameter in command.params
        for spelling in parameter.opts
        if (spelling.startswith("--") or not spelling.startswith("-")) and (key := _spell(spelling)) not in NEVER
    }


def _spell(key: str) -> str:
    return key.lstrip("-").replace("-", "_")
