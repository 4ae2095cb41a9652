"""Records with a pseudonym in place of the concept's names, in every text but those that the program itself fixes."""

import json

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from space_cli.core.ledger import INSIDE, RECORD, Entry, parse, sealed, spell
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import Concept
from space_cli.core.records import ErasureReceipt, FileRecord

Model = TypeVar("Model", bound=BaseModel)
FIXED = frozenset(
    (
        *(
            "kind",
            "verdict",
            "score",
            "rule",
            "passed_over",
            "unit",
            "better",
            "metrics",
            "attacks",
            "method",
            "scope",
            "device",
        ),
        *("space_version", "sha256", "policy_sha256", "encoder_sha256", "run", "dtype", "key_id", "salt"),
        *("files", "base_files", "layers"),
    )
)
"""Fields without a word of a person's: names of plug-ins, digests, files of the checkpoint. All others are masked."""
CONCEPT = "concept"


def masked(record: Model, pseudonym: Pseudonym) -> Model:
    """Return a request or record that names nothing."""
    return type(record).model_validate(_masked(record.model_dump(), pseudonym))


def untraced(receipt: ErasureReceipt) -> ErasureReceipt:
    """Return a receipt without the digests of what `space` had written into the checkpoint that was edited.

    They cover texts that name what earlier requests erased, and so does the ledger's hash: who tries names could tell
    by them which one was right.
    """
    own = [entry for entry in receipt.base_files if entry.path != RECORD and not entry.path.startswith(INSIDE)]
    return receipt.model_copy(update={"base_files": own, "ledger": ""})


def unnamed(receipt: ErasureReceipt, pseudonym: Pseudonym) -> ErasureReceipt:
    """Return a receipt whose files tell nothing by their names, for reports that list them; digests stay."""
    files, base = (_unnamed(entries, pseudonym) for entries in (receipt.files, receipt.base_files))
    return receipt.model_copy(update={"files": files, "base_files": base})


def _unnamed(entries: Sequence[FileRecord], pseudonym: Pseudonym) -> list[FileRecord]:
    taken = {entry.path for entry in entries}
    found = []
    for entry in entries:
        path = hidden = pseudonym.mask(entry.path)
        number = 1
        while path != entry.path and path in taken:  # "Panda.bin" beside "panda.bin"
            number += 1
            path = f"{number}-{hidden}"
        taken.add(path)
        found.append(entry.model_copy(update={"path": path}))
    return found


def masked_lines(text: str, pseudonym: Pseudonym) -> str:
    """Return a JSONL document that names nothing; lines that named nothing stay as they are, byte for byte."""
    return "".join(_line(line, pseudonym) for line in text.splitlines(keepends=True))


def resealed(text: str, pseudonym: Pseudonym, *, origin: str) -> tuple[str, str]:
    """Return a ledger that names nothing, each line sealed anew with the one before, and the last line's hash.

    Raises:
        ArtifactFault: It is no ledger, or its chain is broken.
    """
    entries: list[Entry] = []
    for entry in parse(text, origin=origin):
        facts = entry.model_dump(exclude={"number", "previous", "hash"})
        entries.append(sealed(entries, facts | {"concept": masked_concept(entry.concept, pseudonym)}))
    return spell(entries), entries[-1].hash


def masked_concept(concept: Concept, pseudonym: Pseudonym) -> Concept:
    """Return a concept whose names are each a keyed hash, so that whoever has the key can compare them."""
    return Concept(
        name=pseudonym.of(concept.name),
        aliases=tuple(pseudonym.of(alias) for alias in concept.aliases),
        phrase=pseudonym.mask(concept.phrase),
        kind=None if concept.kind is None else pseudonym.mask(concept.kind),
    )


def _masked(value: object, pseudonym: Pseudonym) -> object:
    if isinstance(value, str):
        return pseudonym.mask(value)
    if isinstance(value, list | tuple):
        return [_masked(one, pseudonym) for one in value]
    return _fields(value, pseudonym) if isinstance(value, dict) else value


def _fields(value: dict[str, Any], pseudonym: Pseudonym) -> dict[str, Any]:
    return {key: _field(key, one, pseudonym) for key, one in value.items()}


def _field(key: str, value: object, pseudonym: Pseudonym) -> object:
    if key == CONCEPT and isinstance(value, dict):
        return masked_concept(Concept.model_validate(value), pseudonym).model_dump(mode="json")
    return value if key in FIXED else _masked(value, pseudonym)


def _line(line: str, pseudonym: Pseudonym) -> str:
    content = json.loads(line)
    found = _masked(content, pseudonym)
    return line if found == content else json.dumps(found, ensure_ascii=False) + "\n"
