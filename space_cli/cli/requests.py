"""Requests that follow others: several in one run, or one asked of a checkpoint that was erased from before.

The first request of a checkpoint has the workspace itself. Every other one has a folder of its own inside,
`requests/KEY`, because what it was made with must stay for `space verify` and `space audit` while the next one runs.
"""

import hashlib

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from space_cli.cli import chain
from space_cli.cli.render import Sheet, Terminal, figure
from space_cli.cli.workspace import Workspace, damage, done_already
from space_cli.core.errors import UsageFault
from space_cli.io.artifact import RECORD_NAME, digest_file

if TYPE_CHECKING:
    from space_cli.core.recipe import Concept, EraseRequest
    from space_cli.core.records import ErasureReceipt

COMMENT = "#"


@dataclass(frozen=True)
class Run:
    """Where one command works."""

    place: Workspace
    out: Path  # of the last request
    overwrite: bool


def read_names(given: Sequence[str], file: Path | None) -> list[str]:
    """Return the concepts of the command line, then those of a file with one a line.

    Args:
        given: `--concept`, in order.
        file: `--concepts-file`; empty lines and what follows a `#` do not count.

    Raises:
        UsageFault: There is none, one is named twice, or the file cannot be read.
    """
    names = [*given, *(_read(file) if file is not None else [])]
    if not names:
        raise UsageFault("Missing option '--concept'", hint="or pass `--concepts-file` with one concept a line")
    from space_cli.core.matching import words

    seen: dict[tuple[str, ...], str] = {}
    for name in names:
        key = tuple(words(name)) or (name,)
        if key in seen:
            raise UsageFault(f"`{name}` is named twice: a concept is erased once", hint="leave one of them out")
        seen[key] = name
    return names


def forbid_details(names: Sequence[str], details: Mapping[str, object]) -> None:
    """Refuse what describes one concept where there are several.

    Raises:
        UsageFault: One of the options was given.
    """
    for option, value in details.items():
        if len(names) > 1 and value:
            raise UsageFault(
                f"`{option}` belongs to one concept: {len(names)} were named", hint="erase one at a time with it"
            )


def check_continued(folder: Path, out: Path, concepts: Sequence["Concept"], scope: str) -> int:
    """Check the ledger of a checkpoint, that it has none of these concepts yet, and that its anchors fit a scope.

    Returns:
        How many requests it has.

    Raises:
        ArtifactFault: The ledger is broken, or of another checkpoint; or kept anchors lie elsewhere than the scope's.
        UsageFault: A concept was erased already, or `out` is the checkpoint itself.
    """
    from space_cli.core.ledger import require_new
    from space_cli.io.families import family_of
    from space_cli.io.ledger import earlier_requests, require_earlier

    if folder.resolve() == out.resolve():
        raise UsageFault(f"`{out}` is the checkpoint to erase from", hint="choose another folder with `--out`")
    entries = earlier_requests(folder)
    for concept in concepts:
        require_new(entries, concept)
    if entries:
        require_earlier(folder, entries, family_of(folder).begins(scope))
    return len(entries)


def erase_each(
    run: Run, request: "EraseRequest", concepts: Sequence["Concept"], wish: chain.Wish, terminal: Terminal
) -> "ErasureReceipt":
    """Carry out requests one after another, each on the checkpoint that the one before left.

    What an interrupted run finished is used again.

    Args:
        run: Where; only the last request writes to `run.out`.
        request: The first one; the others differ in concept, checkpoint and anchors.
        concepts: What to erase, in order.
        wish: What the command was told about pool and anchors.
        terminal: Told about each.

    Returns:
        The receipt of the last one.
    """
    chain.ensure_pool(run.place, request, wish, terminal, overwrite=run.overwrite)
    pool = chain.pool_of(run.place, request, wish, chain.recorded_anchors(run.place))
    wish = replace(wish, pool=None if pool is None else str(pool))
    receipts: list[ErasureReceipt] = []
    for number, concept in enumerate(concepts, start=1):
        asked = request.model_copy(update={"concept": concept})
        own = Workspace(run.place.folder / "requests" / _key(asked, pool), run.place.chosen)
        asked = asked.model_copy(update={"anchors": str(own.anchors)})
        terminal.note(f"request {number} of {len(concepts)}: {concept.name}")
        receipts.append(_one(run, own, asked, wish, terminal, last=number == len(concepts)))
        request = request.model_copy(update={"model": str(own.erased), "revision": None})
    if len(receipts) > 1:
        terminal.sheet(_sheet(receipts))
    return receipts[-1]


def _one(
    run: Run, own: Workspace, asked: "EraseRequest", wish: chain.Wish, terminal: Terminal, *, last: bool
) -> "ErasureReceipt":
    from space_cli.core.records import ErasureReceipt

    done = None if last else done_already(own.erased, asked)
    if isinstance(done, ErasureReceipt) and not damage(own.erased, done):
        terminal.note(f"erase: `{asked.concept.name}` is done already in `{own.erased}`, reused")
        return done
    checkpoint = chain.check_model(asked.model, asked.revision, asked.scope)
    chain.ensure_anchors(own, asked, wish, checkpoint, terminal)
    from space_cli.stages.erase import erase

    # What lies in the folder of a request in between is ours: left by a run on other inputs.
    out, overwrite = (run.out, run.overwrite) if last else (own.erased, True)
    receipt = erase(asked, out, progress=terminal, overwrite=overwrite)
    if receipt.meter:
        terminal.note(receipt.meter)
    return receipt


def _key(request: "EraseRequest", pool: Path | None) -> str:
    """Return a name that only the same request of the same checkpoint and pool has, and that tells no concept.

    Reports hold the paths of inputs. Of the request alone, who tries names could make this name as well; nobody can who
    has not the record of the pool.
    """
    record = "" if pool is None else digest_file(pool / RECORD_NAME)
    return hashlib.sha256(f"{record}\n{request.model_dump_json(exclude={'anchors'})}".encode()).hexdigest()[:12]


def _sheet(receipts: Sequence["ErasureReceipt"]) -> Sheet:
    from space_cli.core.continual import HISTORY, REBOUND

    columns = ("request", "concept", "steps", "stopped", "free directions used", "history", "rebound")
    rows = [
        (
            str(one.requests),
            one.request.concept.name,
            str(one.steps),
            one.stopped,
            *(figure(share, unit="share") for share in (one.used, one.signals.get(HISTORY), one.signals.get(REBOUND))),
        )
        for one in receipts
    ]
    return Sheet("requests", columns, rows)


def _read(file: Path) -> list[str]:
    try:
        text = file.expanduser().read_text(encoding="utf-8-sig")
    except OSError as failure:
        raise UsageFault(
            f"`{file}` cannot be read: {failure.strerror}",
            hint="check its path and permissions, or name each concept with `--concept`",
        ) from None
    except UnicodeDecodeError:
        raise UsageFault(f"`{file}` is not UTF-8 text", hint="save it as UTF-8, one concept a line") from None
    names = [name for line in text.splitlines() if (name := line.partition(COMMENT)[0].strip())]
    if not names:
        raise UsageFault(f"`{file}` names no concept", hint="one a line; what follows a `#` does not count")
    return names
