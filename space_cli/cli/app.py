"""The entry point: one command a file, every failure one line with its exit code."""

import errno
import os
import signal
import sys
import traceback
import warnings

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeGuard

import typer

from space_cli import __version__
from space_cli.cli import (
    audit,
    demo,
    doctor,
    erase,
    index,
    listing,
    pseudonymize,
    revert,
    select,
    show,
    sign,
    streams,
    verify,
)  # fmt: skip
from space_cli.cli.examples import shown
from space_cli.cli.options import Debug
from space_cli.cli.render import Terminal, complain
from space_cli.cli.settings import Invocation
from space_cli.core.errors import SpaceError, is_out_of_memory

if TYPE_CHECKING:
    from pydantic import ValidationError

INTERRUPTED = 130
TERMINATED = 143
ENVIRONMENT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE}
NO_PATH = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP}
"""What only a path that somebody gave can be: too long, through a file, or in a circle."""
HOMELESS = "Could not determine home directory."
"""All that pathlib says of `~nobody`, as a bare RuntimeError."""
STATE_SAVED = "state saved, run the same command again to continue"
MEMORY_HINT = "close other programs, with `index` take a smaller `--batch-size`, or pass `--device cpu`"
STORAGE_HINT = "check free space and permissions"
EPILOG = (
    "Every option has an environment variable SPACE_<OPTION> and a key in space.toml: "
    "flags win over environment, environment over file."
)

app = typer.Typer(
    name="space",
    help="Erase a visual concept from a multimodal LLM checkpoint without one image of it.",
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command, _panel in (
    ("index", index.index, "The chain"),
    ("select", select.select, "The chain"),
    ("erase", erase.erase, "The chain"),
    ("audit", audit.audit, "The chain"),
    ("demo", demo.demo, "First steps"),
    ("doctor", doctor.doctor, "First steps"),
    ("list", listing.listing, "First steps"),
    ("show", show.show, "Folders"),
    ("verify", verify.verify, "Folders"),
    ("sign", sign.sign, "Folders"),
    ("pseudonymize", pseudonymize.pseudonymize, "Folders"),
    ("revert", revert.revert, "Folders"),
):
    app.command(_name, rich_help_panel=_panel, epilog=shown(_name))(_command)


class Terminated(BaseException):
    """SIGTERM arrived; a BaseException so that nothing on the way swallows it."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    _quiet_libraries()
    streams.open_closed()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, partial(_terminate, os.getpid()))
    code = run(sys.argv[1:])
    streams.settle()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: The words after `space`; none at all asks for the help.

    Returns:
        The exit code, after any error was told on stderr.
    """
    invocation = Invocation(as_json=_asks_for_json(arguments))
    command = typer.main.get_command(app)
    try:
        code = command.main(
            args=list(arguments) or ["--help"], prog_name="space", standalone_mode=False, obj=invocation
        )
        code = code if isinstance(code, int) else 0
    except SystemExit as leaving:
        # Help and version are printed by typer, which leaves with 1 where nobody reads them any more.
        code = 0 if isinstance(leaving.__context__, BrokenPipeError) else 1
        streams.silence(sys.stdout)
    except (Exception, KeyboardInterrupt, Terminated) as failure:
        if invocation.debug:
            with suppress(OSError):
                traceback.print_exc()
        code = _report(failure, invocation)
    else:
        if code == INTERRUPTED:
            _say(_cut_short("interrupted", invocation), lead="")
    return code if arguments else 2


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Tell what the parser has not come to yet where it fails at another word, or at the file of options."""
    return "--json" in takewhile(lambda word: word != "--", arguments)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"space {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version")
    ] = False,
    debug: Debug = False,
) -> None:
    pass


def _report(failure: BaseException, invocation: Invocation) -> int:
    """Tell a failure on stderr, and on stdout too where a script waits for JSON."""
    code, message, hint = _explain(failure, invocation)
    if code in {INTERRUPTED, TERMINATED}:
        _say(message, hint, lead="")
        return code
    _say(message, hint)
    if invocation.as_json:
        figures = failure.figures if isinstance(failure, SpaceError) else {}
        document = {"error": message, "hint": hint, "exit_code": code, "figures": figures}
        with suppress(OSError):  # stdout is what failed, perhaps
            Terminal(as_json=True).result(document, None)
    return code


def _say(message: str, hint: str = "", *, lead: str = "error: ") -> None:
    with suppress(OSError):  # a full disk behind stderr must not change the exit code
        complain(message, hint, lead=lead)


def _cut_short(how: str, invocation: Invocation) -> str:
    return f"{how}: {STATE_SAVED}" if _keeps_state(invocation) else how


def _keeps_state(invocation: Invocation) -> bool:
    """Tell whether the command that was cut short saved where it is; what was never loaded saved nothing."""
    if invocation.dry_run:
        return False
    if invocation.command == "index":
        pool = sys.modules.get("space_cli.io.pool")
        return pool is not None and bool(pool.ShardWriter.kept)
    method = sys.modules.get(f"space_cli.methods.{invocation.method.replace('-', '_')}")
    state = sys.modules.get("space_cli.io.state")
    kept = state is not None and state.StateStore.kept and getattr(method, "KEEPS_STATE", False)
    return kept and invocation.command in {"erase", "demo"}


def _explain(failure: BaseException, invocation: Invocation) -> tuple[int, str, str]:
    if isinstance(failure, SpaceError):
        return failure.exit_code, failure.message, failure.hint
    if isinstance(failure, typer.TyperException):
        return (
            failure.exit_code,
            failure.format_message().replace("Value error, ", ""),
            _usage_hint(failure, invocation),
        )
    if isinstance(failure, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED, _cut_short("interrupted", invocation), ""
    if isinstance(failure, Terminated):
        return TERMINATED, _cut_short("terminated", invocation), ""
    return _explain_foreign(failure)


def _explain_foreign(failure: BaseException) -> tuple[int, str, str]:
    if _is_memory(failure):
        return 5, f"memory ran out: {_first_line(failure)}", MEMORY_HINT
    if _is_request(failure):
        return 2, _first_problem(failure), "the command's `--help` says which values fit"
    if isinstance(failure, OSError) and failure.errno in NO_PATH | ENVIRONMENT:
        told = f"`{failure.filename}`: {failure.strerror}" if failure.filename else str(failure.strerror)
        return (2, told, "give another path") if failure.errno in NO_PATH else (5, told, STORAGE_HINT)
    if isinstance(failure, ImportError) and (missing := doctor.lacking(failure)):
        return 5, f"the package {missing} cannot be imported: {_first_line(failure)}", f"pip install {missing}"
    if str(failure) == HOMELESS:
        return 2, "a path begins with `~`, and no home folder is known for it", "write the path in full"
    return 1, f"{type(failure).__name__}: {_first_line(failure)}", "pass --debug for the traceback"


def _is_memory(failure: BaseException) -> bool:
    torch = sys.modules.get("torch")
    return is_out_of_memory(failure) or bool(torch and isinstance(failure, torch.OutOfMemoryError))


def _is_request(failure: BaseException) -> "TypeGuard[ValidationError]":
    """Tell a value that a person gave from a record that we wrote wrongly."""
    pydantic = sys.modules.get("pydantic")
    if not pydantic or not isinstance(failure, pydantic.ValidationError):
        return False
    title = str(failure.title)
    return title.endswith(("Request", "Options")) or title == "Concept"


def _first_problem(failure: "ValidationError") -> str:
    problems = failure.errors()
    where = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = problems[0]["msg"].removeprefix("Value error, ")
    return f"{where or failure.title}: {message}{more}"


def _usage_hint(failure: typer.TyperException, invocation: Invocation) -> str:
    ctx, parameter = getattr(failure, "ctx", None), getattr(failure, "param", None)
    if ctx is None:
        return "space --help"
    if parameter is not None:
        source = ctx.get_parameter_source(parameter.name)
        if source is not None and source.name == "DEFAULT_MAP":
            return f"the value comes from {invocation.origins[parameter.name]}"
    return f"{ctx.command_path} --help"


def _first_line(failure: BaseException) -> str:
    return next(iter(str(failure).strip().splitlines()), "no message")


def _quiet_libraries() -> None:
    """Keep other people's bars and warnings off stderr, unless their own variables ask for them."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _terminate(owner: int, number: int, frame: FrameType | None) -> None:
    # A forked worker inherits this handler and must die as its parent asks, not report.
    if os.getpid() != owner:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    raise Terminated
