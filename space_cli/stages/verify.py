"""Verify: is a folder what its record says, and so are all the folders it was made from?"""

import json
import os

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from space_cli import __version__
from space_cli.core.errors import ArtifactFault
from space_cli.core.examining import every_score
from space_cli.core.gating import judge
from space_cli.core.policy import Policy
from space_cli.core.records import AuditReport, ErasureReceipt, FileRecord, Record, Source, verdict_of
from space_cli.io.artifact import RECORD_NAME, check_files, digest_file, read_record, source_of, unlisted
from space_cli.io.checkpoint import Checkpoint, check_recorded, open_checkpoint
from space_cli.io.edits import recorded_edits
from space_cli.io.erased import refuse_second_weights
from space_cli.io.ledger import ledger_checks
from space_cli.io.listing import place_of
from space_cli.io.probe import open_policy, shipped_policies
from space_cli.io.signing import check_signature
from space_cli.io.storage import read_small
from space_cli.reports import sarif
from space_cli.stages.made_of import Check, carried_checks, compared, weight_checks


@dataclass(frozen=True)
class Signed:
    """A signature over the folder, and the key of whoever is trusted."""

    signature: Path
    public_key: Path


@dataclass(frozen=True)
class _Walk:
    """What a walk back through the inputs knows."""

    places: Mapping[str, Path]
    digests: dict[Path, str] = field(default_factory=dict)  # of the folders that were walked through

    def place(self, source: Source) -> Path:
        """Return where an input is."""
        return place_of(source, self.places)


def verify(folder: Path, *, signed: Signed | None = None, places: Mapping[str, Path] | None = None) -> list[Check]:
    """Check a folder that `space` wrote, and walk its inputs back to the original checkpoint.

    Every file is compared with its digest. An erased folder is also compared with its base, tensor by tensor:
    what the receipt lists as edited equals base plus edit to the bit, and everything else is the base's. An audit's
    record is compared with its own `audit.sarif`: nobody edits a score or an input in one of the two unseen.

    Args:
        folder: A pool, anchors, erased or audit folder.
        signed: A signature that must hold for the folder.
        places: Kind of input -> where it is now, for inputs that are not where their record says. Whatever lies
            there must still be what the record says.

    Returns:
        Every check, the failed ones among them; the checks of an input carry its kind before their name.

    Raises:
        ArtifactFault: The folder has no readable record, so there is nothing to check it against.
        UsageFault: The key of the signature is of the wrong kind.
        EnvironmentFault: The extra that checks signatures is missing.
    """
    folder = folder.resolve()
    record = read_record(folder)
    first = [_signature_check(folder, signed)] if signed else []
    return first + _back(folder, record, _Walk(places or {}, {folder: digest_file(folder / RECORD_NAME)}))


def refuse_altered(folder: Path, report: AuditReport) -> None:
    """Refuse a finished audit that is not what was written: before its verdict is told again.

    Args:
        folder: An audit folder.
        report: Its record.

    Raises:
        ArtifactFault: A file was altered or added, or the record and its document tell different things.
    """
    for check in (*_file_checks(folder, report), _report_check(folder, report), _verdict_check(report)):
        if not check.passed:
            raise ArtifactFault(
                f"the audit in `{folder}` was altered: {check.name}: {check.detail}",
                hint="pass `--overwrite` to audit again",
            )


def _signature_check(folder: Path, signed: Signed) -> Check:
    try:
        check_signature(folder, signed.signature, public_key=signed.public_key)
    except ArtifactFault as fault:
        return Check("signature", False, fault.message)
    return Check("signature", True, f"`{signed.signature}` holds for every file, by the key `{signed.public_key}`")


def _back(folder: Path, record: Record, walk: _Walk) -> list[Check]:
    """Check a folder, and then what it was made from, and so on; chains of requests are longer than Python recurses."""
    checks, inner = _checks(folder, record, walk)
    waiting = inner[::-1]
    while waiting:
        name, place = waiting.pop()
        try:
            found, inner = _checks(place, read_record(place), walk)
        except ArtifactFault as fault:
            found, inner = [Check("record", False, fault.message)], []
        checks += [replace(check, name=f"{name}: {check.name}") for check in found]
        waiting += [(f"{name}: {kind}", further) for kind, further in reversed(inner)]
    return checks


def _checks(folder: Path, record: Record, walk: _Walk) -> tuple[list[Check], list[tuple[str, Path]]]:
    """Return the checks of a folder, and kind and place of each input that a stage wrote."""
    checks: list[Check] = _file_checks(folder, record)
    inner: list[tuple[str, Path]] = []
    for source in record.inputs:
        check, place = _input_check(source, walk)
        checks.append(check)
        if place is not None:
            inner.append((source.kind, place))
    if isinstance(record, ErasureReceipt):
        checks += _erasure_checks(folder, record, walk)
        checks += _ledger_checks(folder, record, walk)
    if isinstance(record, AuditReport):
        checks += [_report_check(folder, record), _verdict_check(record), *_subject_check(record)]
    return checks, inner


def _file_checks(folder: Path, record: Record) -> list[Check]:
    return [*(_file_check(folder, entry) for entry in record.files), *_added_checks(folder, record)]


def _file_check(folder: Path, entry: FileRecord) -> Check:
    try:
        check_files(folder, [entry])
    except ArtifactFault as fault:
        return Check(f"file {entry.path}", False, fault.message)
    return Check(f"file {entry.path}", True, f"{entry.bytes} bytes as recorded")


def _added_checks(folder: Path, record: Record) -> list[Check]:
    added = unlisted(folder, record)
    if not added:
        return [Check("nothing added", True, f"{len(record.files) + 1} files")]
    return [Check(f"file {name}", False, f"{RECORD_NAME} does not list it: it was added later") for name in added]


def _report_check(folder: Path, report: AuditReport) -> Check:
    """Compare the record, which no digest of its own covers, with the document that repeats what it rests on."""
    name, path = f"record and {sarif.FILE}", folder / sarif.FILE
    facts = sarif.facts(report)
    try:
        told = json.loads(read_small(path))["runs"][0]["properties"]
        absent = [key for key in facts if key not in told]
        wrong = {key for key, value in facts.items() if told.get(key) != value}
    except (ArtifactFault, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Check(name, False, f"`{path}` is missing or no document of ours")
    if absent:
        older = "an earlier version of `space` wrote it, or somebody took that out; audit again"
        return Check(name, False, f"`{path}` does not repeat {', '.join(absent)} of the record: {older}")
    counted = f"{len(report.scores)} scores, {len(report.gates)} rules and {len(report.inputs)} inputs"
    return compared(name, wrong, f"{counted} are the same in both")


def _verdict_check(report: AuditReport) -> Check:
    """Judge again: the verdict must follow from the rules, and those of a shipped policy from the scores."""
    told = {(gate.score, gate.rule): gate.verdict for gate in report.gates}
    again = [] if (policy := _shipped(report)) is None else judge(policy, report.scores, report.skipped)[1]
    wrong = {gate.rule for gate in again if told.get((gate.score, gate.rule)) != gate.verdict}
    wrong |= {"verdict"} if report.verdict != verdict_of(report.gates) else set()
    return compared("verdict", wrong, f"{report.verdict}: it follows from the rules")


def _shipped(report: AuditReport) -> Policy | None:
    """Return the shipped policy that a report was judged by, if this version of `space` judged it and has it still."""
    if report.space_version != __version__:
        return None
    shipped = (open_policy(name, known=every_score()) for name in shipped_policies())
    return next((policy for policy, digest in shipped if digest == report.policy_sha256), None)


def _subject_check(report: AuditReport) -> list[Check]:
    """Fail an audit of nothing: without the erased folder the walk back to the original never begins."""
    if any(source.kind == "erased" for source in report.inputs):
        return []
    return [Check("input erased", False, "the record names no erased folder among its inputs: nothing was audited")]


def _input_check(source: Source, walk: _Walk) -> tuple[Check, Path | None]:
    """Return whether an input is what the record says, and its folder if a stage wrote it and nobody was there yet."""
    place, digests = walk.place(source), walk.digests
    name = f"input {source.kind}"
    # A record may name a device or a pipe, which would be read for ever, or what no path can be.
    if not os.path.isdir(place) and not os.path.isfile(place):
        return Check(name, False, f"`{source.path}` cannot be found: where it moved, say so with `--input`"), None
    path = place.resolve()
    first = path not in digests
    if first:
        try:
            digests[path] = source_of(place, source.kind).sha256
        except ArtifactFault as fault:
            return Check(name, False, fault.message), None
    inner = path if first and (path / RECORD_NAME).is_file() else None
    if digests[path] != source.sha256:
        detail = f"`{path}` was altered: expected {source.sha256[:12]}…, found {digests[path][:12]}…"
        return Check(name, False, detail), inner
    return Check(name, True, f"`{path}` as recorded"), inner


def _erasure_checks(folder: Path, receipt: ErasureReceipt, walk: _Walk) -> list[Check]:
    paths = [walk.place(source) for source in receipt.inputs if source.kind == "checkpoint"]
    if not paths:
        return [Check("base", False, "the receipt names no checkpoint among its inputs")]
    base = paths[0]
    if not os.path.isdir(base):
        return []  # already a failed check: an input that cannot be found
    try:
        before, after = open_checkpoint(base), open_checkpoint(folder)
        edits = recorded_edits(folder, receipt)
    except ArtifactFault as fault:
        return [Check("base comparison", False, fault.message)]
    return [
        _base_check(before, receipt),
        _alone_check(after),
        *weight_checks(before, after, edits),
        *carried_checks(before, after, receipt.instruction),
    ]


def _ledger_checks(folder: Path, receipt: ErasureReceipt, walk: _Walk) -> list[Check]:
    base = next((walk.place(source) for source in receipt.inputs if source.kind == "checkpoint"), None)
    checks = []
    for name, check in ledger_checks(folder, receipt, base if base is not None and os.path.isdir(base) else None):
        try:
            checks.append(Check(name, True, check()))
        except ArtifactFault as fault:
            checks.append(Check(name, False, fault.message))
    return checks


def _base_check(before: Checkpoint, receipt: ErasureReceipt) -> Check:
    try:
        check_recorded(before, receipt.base_files)
    except ArtifactFault as fault:
        return Check("base files", False, fault.message)
    return Check("base files", True, f"`{before.folder}` as recorded")


def _alone_check(after: Checkpoint) -> Check:
    try:
        refuse_second_weights(after)
    except ArtifactFault as fault:
        return Check("weights beside the shards", False, fault.message)
    return Check("weights beside the shards", True, "there are none")
