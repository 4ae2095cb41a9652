"""The ledger of requests that travels with an erased checkpoint: one line a request, each sealed with the one before.

A line names the checkpoint it was made from and the one it made by what is in their files, so that a ledger fits
one checkpoint alone, and a line that is removed, moved or edited is found without any other record.
"""

import hashlib
import json
import re

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from space_cli.core.errors import AS_WRITTEN, ArtifactFault, UsageFault
from space_cli.core.matching import words
from space_cli.core.pseudonym import DIGITS, PREFIX
from space_cli.core.recipe import Concept
from space_cli.core.records import FileRecord

START = "0" * 64
"""What stands in place of a hash before the first line."""
RECORD, INSIDE = "space.json", "space/"
"""What `space` adds to a checkpoint: no part of what the digest of a checkpoint covers."""
_HIDDEN = re.compile(rf"{PREFIX}[0-9a-f]{{{DIGITS}}}")
"""A concept's pseudonym: nobody without the key knows what it stands for."""


class Entry(BaseModel):
    """One request as the ledger keeps it; no time stands in it, so that equal requests have equal lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Annotated[int, Field(ge=1)]
    concept: Concept
    method: str
    seed: int
    base: str = Field(description="Digest of the checkpoint that was edited")
    edits: str = Field(description="Digest of the request's weight changes")
    anchors: str = Field(description="Digest of the table of anchors that were used")
    kept: str = Field(description="Digest of the anchors kept for later requests")
    result: str = Field(description="Digest of the checkpoint that was written")
    previous: str = Field(description="Hash of the line before; zeros in the first")
    hash: str = Field(description="SHA-256 of all the fields above")

    def line(self) -> str:
        """Return the entry as it stands in the file, without the end of the line."""
        return _canonical(self.model_dump(mode="json"))


def sealed(entries: Sequence[Entry], facts: dict[str, Any]) -> Entry:
    """Return the next line of a ledger.

    Args:
        entries: The lines so far.
        facts: Every field but `number`, `previous` and `hash`.
    """
    previous = entries[-1].hash if entries else START
    open_entry = Entry(number=len(entries) + 1, previous=previous, hash="", **facts)
    return open_entry.model_copy(update={"hash": _hash(open_entry)})


def spell(entries: Iterable[Entry]) -> str:
    """Return the text of a ledger's file."""
    return "".join(f"{entry.line()}\n" for entry in entries)


def parse(text: str, *, origin: str) -> list[Entry]:
    """Read a ledger and check its chain.

    Args:
        text: The file.
        origin: How messages call it.

    Raises:
        ArtifactFault: A line is missing, added, moved, edited or no line of ours.
    """
    if not text.endswith("\n"):
        raise ArtifactFault(f"`{origin}` is empty or cut off: a ledger has one whole line a request", hint=AS_WRITTEN)
    entries = [_read(line, number, origin) for number, line in enumerate(text[:-1].split("\n"), start=1)]
    previous, made = START, entries[0].base
    for number, entry in enumerate(entries, start=1):
        if entry.hash != _hash(entry):
            raise ArtifactFault(
                f"`{origin}` line {number} was edited: its hash is that of another line", hint=AS_WRITTEN
            )
        if entry.number != number or entry.previous != previous:
            raise ArtifactFault(
                f"`{origin}` line {number} does not follow the line before: one was removed or moved", hint=AS_WRITTEN
            )
        if entry.base != made:
            raise ArtifactFault(
                f"`{origin}` line {number} was made from another checkpoint than the line before left", hint=AS_WRITTEN
            )
        previous, made = entry.hash, entry.result
    return entries


def require_fit(entries: Sequence[Entry], digest: str, *, origin: str) -> None:
    """Refuse a ledger that ends with another checkpoint.

    Args:
        entries: As `parse` returns them.
        digest: `checkpoint_digest` of the checkpoint it lies in.
        origin: How messages call it.

    Raises:
        ArtifactFault: Its last line made another checkpoint, or a line was cut off its end.
    """
    if entries[-1].result != digest:
        raise ArtifactFault(
            f"`{origin}` does not belong to this checkpoint: its last line made {entries[-1].result[:12]}…, "
            f"this is {digest[:12]}…",
            hint=AS_WRITTEN,
        )


def require_new(entries: Sequence[Entry], concept: Concept) -> None:
    """Refuse a concept that the ledger has already, and a ledger that hides what it has.

    Raises:
        UsageFault: An earlier request names it, or an alias of it; or one has a pseudonym in place of a name, which can
            be neither compared nor kept away.
    """
    for entry in entries:
        if _HIDDEN.fullmatch(entry.concept.name):
            raise UsageFault(
                f"the checkpoint is a pseudonymized copy: what request {entry.number} erased is not known",
                hint="erase from the folder that the copy was made of",
            )
        if same_thing(entry.concept, concept):
            raise UsageFault(
                f"`{concept.name}` was erased already: it is request {entry.number} of the ledger",
                hint="`space audit` tells what is left of it; `space revert` takes the last request back",
            )


def same_thing(one: Concept, other: Concept) -> bool:
    """Tell whether two concepts share a name, by the rule answers are matched with."""
    spoken = [words(name) for name in one.names]
    return any(words(name) in spoken for name in other.names)


def checkpoint_digest(files: Iterable[FileRecord]) -> str:
    """Return a digest of what makes a checkpoint: every file but what `space` added to it."""
    own = sorted(
        f"{entry.path} {entry.sha256}" for entry in files if entry.path != RECORD and not entry.path.startswith(INSIDE)
    )
    return hashlib.sha256("\n".join(own).encode()).hexdigest()


def _read(line: str, number: int, origin: str) -> Entry:
    try:
        entry = Entry.model_validate_json(line)
    except ValidationError as failure:
        raise ArtifactFault(
            f"`{origin}` line {number} is no request: {failure.errors()[0]['msg']}", hint=AS_WRITTEN
        ) from None
    if entry.line() != line:
        raise ArtifactFault(
            f"`{origin}` line {number} was edited: it is not spelt as `space` spells it", hint=AS_WRITTEN
        )
    return entry


def _hash(entry: Entry) -> str:
    return hashlib.sha256(_canonical(entry.model_dump(mode="json", exclude={"hash"})).encode()).hexdigest()


def _canonical(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))
