"""`space pseudonymize`, and how `space audit` keeps a name off the screen: keys, masks and errors that name nothing."""

import os

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from space_cli.cli import options
from space_cli.cli.render import Terminal
from space_cli.core.errors import SpaceError, UsageFault

if TYPE_CHECKING:
    from space_cli.core.pseudonym import Pseudonym
    from space_cli.core.recipe import AuditRequest
    from space_cli.core.records import ErasureReceipt

KEY_VARIABLE = "SPACE_PSEUDONYM_KEY"


@dataclass(frozen=True)
class Hidden:
    """What hides a concept."""

    pseudonym: "Pseudonym"
    key: bytes


def pseudonymize(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An erased folder", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder to write", rich_help_panel=options.OUTPUT, show_default=False),
    ],
    pseudonym_key_file: options.PseudonymKey = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Copy an erased folder without the concept's name in what `space` wrote; the copy passes `space verify`."""
    from space_cli.cli.outputs import output, recorded, refuse_place
    from space_cli.cli.show import sheets
    from space_cli.cli.workspace import require
    from space_cli.core.records import ErasureReceipt
    from space_cli.stages.pseudonymize import pseudonymize as run

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place, target = folder.expanduser().absolute(), output(out, folder)
    record = require(place, "erased")
    assert isinstance(record, ErasureReceipt), "require() checks the kind"
    with masking(terminal, _own(record, pseudonym_key(pseudonym_key_file))) as hidden:
        refuse_place(target, [place, *recorded([record])])
        receipt = run(place, target, key=hidden.key, progress=terminal, overwrite=overwrite)
        terminal.record(receipt.model_dump_json(), target, sheets(receipt))
        terminal.hint(options.command_line("verify", target))


@contextmanager
def hiding(terminal: Terminal, request: "AuditRequest", key_file: Path | None) -> Generator[Hidden | None]:
    """Keep the concept of an audit off both streams inside the block, where its report may not name it.

    Raises:
        UsageFault: The key is missing, too short or another one, or the concept is missing or another one.
    """
    from space_cli.cli.workspace import require
    from space_cli.core.records import ErasureReceipt
    from space_cli.io.identity import identify

    receipt = require(Path(request.erased), "erased")
    assert isinstance(receipt, ErasureReceipt), "require() checks the kind"
    wanted = request.pseudonymize or receipt.pseudonymized is not None
    key = pseudonym_key(key_file) if wanted else None
    pseudonym = identify(request, receipt, key).pseudonym
    if pseudonym is None or key is None:
        yield None
        return
    with masking(terminal, Hidden(pseudonym, key)) as hidden:
        yield hidden


@contextmanager
def masking(terminal: Terminal, hidden: Hidden) -> Generator[Hidden]:
    """Mask what a terminal prints inside the block, and every error that leaves it.

    Raises:
        SpaceError: In place of an error whose message may name the concept, with the same exit code.
    """
    terminal.mask = hidden.pseudonym.mask
    try:
        yield hidden
    except SpaceError as fault:
        raise hidden.pseudonym.fault(fault) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as failure:
        if not hidden.pseudonym.tells(str(failure)):
            raise
        # A traceback would repeat the message.
        raise _unnamed(failure, hidden.pseudonym) from None


def _unnamed(failure: Exception, pseudonym: "Pseudonym") -> Exception:
    """Return a failure that names nothing: what the machine refuses is still that, anything else our own bug."""
    if isinstance(failure, OSError) and failure.errno is not None:
        path = failure.filename
        where = None if path is None else pseudonym.mask(os.fsdecode(path) if isinstance(path, bytes) else str(path))
        return OSError(failure.errno, pseudonym.mask(str(failure.strerror)), where)
    return SpaceError(pseudonym.mask(f"{type(failure).__name__}: {failure}"))


def pseudonym_key(path: Path | None) -> bytes:
    """Return the key from a file, else from the environment.

    Raises:
        UsageFault: There is none, or it is empty, too short or cannot be read.
    """
    from space_cli.core.pseudonym import check_key
    from space_cli.io.identity import NEEDS_KEY, read_key

    told = os.environ.get(KEY_VARIABLE)
    if path is None and told is None:
        raise UsageFault("a pseudonym needs a key: none was given", hint=NEEDS_KEY)
    key = read_key(path.expanduser()) if path is not None else os.fsencode(told or "")
    check_key(key)
    return key


def _own(receipt: "ErasureReceipt", key: bytes) -> Hidden:
    from space_cli.core.pseudonym import Pseudonym

    return Hidden(Pseudonym(receipt.request.concept, key), key)
