"""Pseudonymize: a copy of an erased folder that leaves the house without the concept's name."""

import json

from pathlib import Path

from space_cli.core.errors import AS_WRITTEN, ArtifactFault, UsageFault
from space_cli.core.masking import masked, masked_lines, resealed
from space_cli.core.protocols import Progress
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.records import ErasureReceipt, Pseudonymized
from space_cli.io.artifact import RECORD_NAME, digest_file, new_artifact, open_artifact, write_text
from space_cli.io.identity import refuse_telling
from space_cli.io.shards import place_copy, read_header

INSIDE = "space/"
LEDGER = "space/ledger.jsonl"
KEPT_INPUT = "checkpoint"
"""The one input that names no concept, and that `space verify` needs."""
REPORT_ALONE = "`space audit --pseudonymize` writes a report on it that names nothing"


def pseudonymize(erased: Path, out: Path, *, key: bytes, progress: Progress, overwrite: bool = False) -> ErasureReceipt:
    """Write a copy whose receipt names the concept by a keyed hash only.

    Weights and whatever came from the original checkpoint stay byte for byte; the vocabulary of its tokenizer has
    every word, and tells nothing. Anchors and images of the concept are no inputs of the copy any more: their digests
    are kept under `withheld`, and `space verify` does not ask for them.

    Args:
        erased: A finished erased folder; checked against its digests first.
        out: Where to write.
        key: For the pseudonym; never written.
        progress: Told what a reader of the copy must know.
        overwrite: Replace a folder of ours.

    Returns:
        The receipt of the copy.

    Raises:
        UsageFault: The key is too short, the folder is pseudonymized already, it cannot work without the name, or a
            file of it or of its original is named like the concept.
        ArtifactFault: The folder was altered, or holds a file of which nobody knows what it says.
    """
    receipt = open_artifact(erased, "erased")
    assert isinstance(receipt, ErasureReceipt), "the kind was checked"
    if receipt.pseudonymized:
        raise UsageFault(
            f"`{erased}` is pseudonymized already",
            hint="hand it out as it is; for another key copy the folder that it was made of",
        )
    if receipt.requests > 1:
        raise _continued()
    pseudonym = Pseudonym(receipt.request.concept, key)
    refuse_telling(out.absolute(), pseudonym)
    if pseudonym.tells(receipt.instruction):
        raise UsageFault(
            "the chat template of this checkpoint names the concept: without it nothing would be suppressed",
            hint="erase with a method that changes weights",
        )
    _refuse_telling_names(receipt, pseudonym)
    told = masked(receipt, pseudonym)
    with new_artifact(out, _request(erased, pseudonym), overwrite=overwrite) as draft:
        sealed: dict[str, object] = {}
        for entry in receipt.files:
            (draft.path / entry.path).parent.mkdir(parents=True, exist_ok=True)
            sealed |= _write(erased, draft.path, entry.path, pseudonym)
        withheld = [source for source in told.inputs if source.kind != KEPT_INPUT]
        record = told.model_copy(
            update={
                "inputs": [source for source in told.inputs if source.kind == KEPT_INPUT],
                "files": draft.files(),
                "salt": "",  # of the original: whoever has it and this copy could try names
                "pseudonymized": Pseudonymized(key_id=pseudonym.key_id, withheld=withheld),
                **sealed,
            }
        )
        draft.finish(record)
    if told.inputs != receipt.inputs:
        progress.note("a path among the inputs names the concept and was masked: `space verify` needs `--input` for it")
    return record


def _request(erased: Path, pseudonym: Pseudonym) -> str:
    return json.dumps({"pseudonymize": digest_file(erased / RECORD_NAME), "key_id": pseudonym.key_id})


def _write(erased: Path, out: Path, name: str, pseudonym: Pseudonym) -> dict[str, object]:
    """Write one file of the copy; return what the receipt must say about it."""
    source, target = erased / name, out / name
    target.unlink(missing_ok=True)  # left by a killed run; a link must not be written through
    if name == LEDGER:
        return _write_ledger(source, target, pseudonym)
    if name.startswith(INSIDE) and name.endswith(".jsonl"):
        write_text(target, _masked_lines(source, pseudonym))
        return {}
    if name.startswith(INSIDE):
        _refuse_telling_tensors(source, pseudonym)
    place_copy(source, target, link=True)
    return {}


def _masked_lines(source: Path, pseudonym: Pseudonym) -> str:
    try:
        return masked_lines(source.read_text(encoding="utf-8"), pseudonym)
    except (ValueError, RecursionError):
        raise ArtifactFault(
            f"`{source}` is not a list of JSON lines: it cannot be searched for the concept", hint=AS_WRITTEN
        ) from None


def _write_ledger(source: Path, target: Path, pseudonym: Pseudonym) -> dict[str, object]:
    text = source.read_text(encoding="utf-8")
    if len(text.splitlines()) > 1:
        raise _continued()
    text, last = resealed(text, pseudonym, origin=str(source))
    write_text(target, text)
    return {"ledger": last}


def _continued() -> UsageFault:
    """Say why a later request's folder has no copy: it is checked against its base, and that one names concepts.

    The receipt has the digest of the base's ledger. Whoever has the masked one lacks nothing of it but the names, and
    could try them.
    """
    return UsageFault(
        "this checkpoint was erased from more than once: its receipt refers to its base, which names what was erased",
        hint=REPORT_ALONE,
    )


def _refuse_telling_names(receipt: ErasureReceipt, pseudonym: Pseudonym) -> None:
    """Refuse files that are named like the concept, of the folder or of the checkpoint it was made from.

    The copy has to keep both: `space verify` finds files by their names.
    """
    for entries, whose in ((receipt.files, "the file"), (receipt.base_files, "the original's file")):
        for entry in entries:
            if pseudonym.tells(entry.path):
                raise UsageFault(
                    f"{whose} `{pseudonym.mask(entry.path)}` has the concept in its name: it cannot be hidden",
                    hint="`space audit --pseudonymize` writes a report without it; or rename it, and erase again",
                )


def _refuse_telling_tensors(path: Path, pseudonym: Pseudonym) -> None:
    if path.suffix != ".safetensors":
        raise ArtifactFault(f"`{path}` is of a kind that cannot be searched for the concept", hint=REPORT_ALONE)
    if any(pseudonym.tells(name) for name in read_header(path)):
        raise ArtifactFault(f"`{path}` has a tensor that is named like the concept", hint=REPORT_ALONE)
