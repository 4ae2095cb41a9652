"""What an erased folder's concept is called: its own names, and the pseudonym that a report may use in their place."""

from dataclasses import dataclass
from pathlib import Path

from space_cli.core.errors import SpaceError, UsageFault
from space_cli.core.probing import described, is_one_of
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.core.records import ErasureReceipt
from space_cli.io.ledger import read_ledger
from space_cli.io.probe import open_notes

NEEDS_KEY = "pass `--pseudonym-key-file FILE`, or set SPACE_PSEUDONYM_KEY"


@dataclass(frozen=True)
class Identity:
    """Who an audit is about."""

    receipt: ErasureReceipt  # with the concept's own names
    pseudonym: Pseudonym | None  # None where the report may name it


def read_key(path: Path) -> bytes:
    """Read a key for pseudonyms; a line break at the end does not count.

    Raises:
        UsageFault: The file cannot be read.
    """
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as failure:
        # Without the path: nothing can hide a name in it before the key is known.
        raise UsageFault(
            f"the file of the key for pseudonyms cannot be read: {failure.strerror}",
            hint="check the path and permissions of `--pseudonym-key-file`",
        ) from None


def identify(request: AuditRequest, receipt: ErasureReceipt, key: bytes | None) -> Identity:
    """Find out what an audit is about, and whether its report may say so.

    What earlier requests erased is hidden as well, each concept by a pseudonym of its own. A folder that is
    pseudonymized itself gets a pseudonymized report, whether that is asked for or not.

    Args:
        request: `pseudonymize` asks for it; `concept` names what a pseudonymized folder does not.
        receipt: Of the erased folder.
        key: For the pseudonym; None where none was given.

    Raises:
        UsageFault: The key is missing, too short or another one, or the concept or an alias is missing or another one.
        ArtifactFault: The ledger that names what earlier requests erased is missing or broken.
    """
    if receipt.pseudonymized is None:
        if request.concept is not None and not is_one_of(request.concept.name, receipt.request.concept.names):
            raise UsageFault("`--concept` is not what was erased", hint="leave it out: the receipt names the concept")
        if not request.pseudonymize:
            return Identity(receipt, None)
        return Identity(receipt, _pseudonym(request, receipt, key)[0])
    if request.concept is None:
        raise UsageFault(
            f"the folder names only the pseudonym `{receipt.request.concept.name}`",
            hint="pass `--concept NAME` and the key it was made with",
        )
    named = _named(receipt, request.concept)
    pseudonym, given = _pseudonym(request, named, key)
    if pseudonym.key_id != receipt.pseudonymized.key_id:
        raise UsageFault("the folder was pseudonymized with another key", hint=NEEDS_KEY)
    if pseudonym.text != receipt.request.concept.name:
        raise UsageFault(
            "`--concept` is not what was erased: its keyed hash is not the one of the receipt",
            hint="pass the name as `space erase` was given it; case and punctuation do not count",
        )
    _refuse_fewer_names(given, receipt, pseudonym)
    return Identity(named, pseudonym)


def refuse_telling(path: Path, pseudonym: Pseudonym | None) -> None:
    """Refuse to write to a place whose name tells what must not be told.

    Raises:
        UsageFault: A folder on the way to it, or it itself, names the concept.
    """
    if pseudonym is not None and pseudonym.tells(str(path)):
        raise UsageFault(
            f"the path to write to names the concept: `{pseudonym.mask(str(path))}`",
            hint="choose another place with `--out`",
        )


def _refuse_fewer_names(given: Concept, receipt: ErasureReceipt, pseudonym: Pseudonym) -> None:
    """Refuse to audit under fewer names than were erased: an answer with one that is left out would count as none."""
    hidden, erased = {pseudonym.of(name) for name in given.names}, receipt.request.concept.aliases
    if lacking := [alias for alias in erased if alias not in hidden]:
        raise UsageFault(
            f"{len(lacking)} of the {len(erased)} aliases that were erased are not given",
            hint="pass each with `--alias`, or set SPACE_ALIAS: an answer with one that is left out would not count",
        )


def _named(receipt: ErasureReceipt, concept: Concept) -> ErasureReceipt:
    kind = concept.kind or receipt.request.concept.kind
    own = concept.model_copy(update={"kind": kind})
    return receipt.model_copy(update={"request": receipt.request.model_copy(update={"concept": own})})


def _pseudonym(request: AuditRequest, receipt: ErasureReceipt, key: bytes | None) -> tuple[Pseudonym, Concept]:
    """Return the pseudonym, and the concept with the names that the auditor's notes add."""
    if key is None:
        raise UsageFault("a pseudonym needs a key: none was given", hint=NEEDS_KEY)
    first = Pseudonym(receipt.request.concept, key)
    try:
        before = read_ledger(Path(request.erased))[:-1] if receipt.requests > 1 else []
        first = Pseudonym(receipt.request.concept, key, [entry.concept for entry in before])
        # The auditor's notes may know more names.
        notes = open_notes(Path(request.images)) if request.images else {}
        concept, *others = [
            described(one, notes) for one in (receipt.request.concept, *(entry.concept for entry in before))
        ]
    except SpaceError as fault:
        raise first.fault(fault) from None
    return Pseudonym(concept, key, others), concept
