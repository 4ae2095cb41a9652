"""Where the stages meet: default places, and whether what lies there is still true."""

import hashlib
import os

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from space_cli import __version__
from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.recipe import Concept, SelectRequest
from space_cli.core.records import AnchorsManifest, AuditReport, Manifest, Record, Source, record_type
from space_cli.io.artifact import RECORD_NAME, check_files, digest_file, open_artifact, read_record, source_of
from space_cli.io.places import real_place, settle

STAGES = {"pool": "index", "anchors": "select", "erased": "erase", "audit": "audit"}
"""Which stage writes which kind of folder, in the order of the chain."""


@dataclass(frozen=True)
class Workspace:
    """The four default places, one for each stage's result."""

    folder: Path
    chosen: Path | None = None  # anchors that somebody selected elsewhere, and that nothing replaces

    @property
    def pool(self) -> Path:
        """Where `index` writes."""
        return self.folder / "pool"

    @property
    def anchors(self) -> Path:
        """Where `select` writes, or the chosen ones lie."""
        return self.chosen or self.folder / "anchors"

    @property
    def erased(self) -> Path:
        """Where `erase` writes."""
        return self.folder / "erased"

    @property
    def audit(self) -> Path:
        """Where `audit` writes."""
        return self.folder / "audit"


def open_workspace(folder: Path) -> Workspace:
    """Return the workspace in `folder`, which need not exist yet.

    Raises:
        UsageFault: A file is in its place.
    """
    folder = folder.expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise UsageFault(
            f"`{folder}` is a file: a folder is needed for the workspace",
            hint="name a folder with `--workspace`; it is made where there is none",
        )
    return Workspace(folder)


def is_complete(folder: Path, kind: str) -> bool:
    """Return whether a finished folder of this kind is there; broken ones raise."""
    return (folder / RECORD_NAME).is_file() and read_record(folder).kind == kind


def require(folder: Path, kind: str) -> Record:
    """Read the record of an input folder, naming the command that would write it.

    Raises:
        ArtifactFault: It is missing, broken or of another kind.
    """
    stage = STAGES[kind]
    settle(folder)
    if not (folder / RECORD_NAME).is_file():
        words = {
            "index": "./pool",
            "select": '"CONCEPT"',
            "erase": '--concept "CONCEPT" --model ID_OR_FOLDER',
        }
        hint = f"space {stage} {words.get(stage, '')}".strip()
        raise ArtifactFault(f"no finished {kind} folder at `{folder}`", hint=hint)
    record = read_record(folder)
    expected = record_type(kind)
    assert expected is not None, f"{kind} is a kind of ours"
    if not isinstance(record, expected):
        raise ArtifactFault(
            f"`{folder}` is of the kind `{record.kind}`: `{kind}` is needed here",
            hint=f"give a folder that `space {STAGES[kind]}` wrote",
        )
    return record


def forbid_existing(folder: Path, *, overwrite: bool) -> None:
    """Refuse early what the stage would refuse after long work.

    Raises:
        UsageFault: The folder is there and may not be replaced, or nothing can be put in its place.
    """
    place = real_place(folder)
    if place.exists() and not overwrite:
        ours = (place / RECORD_NAME).is_file()
        hint = "pass `--overwrite` to replace it" if ours else "remove it, or choose another folder"
        raise UsageFault(f"`{folder}` exists already", hint=hint)


def stale_anchors(anchors: AnchorsManifest, concept: Concept, *, pool: Path | None, model: Path | None) -> str:
    """Say why anchors cannot serve an erasure.

    Args:
        anchors: What lies in the workspace.
        concept: What is to be erased.
        pool: The finished pool they should come from; None where it is gone.
        model: The checkpoint folder they should have been ranked by; None asks for none.

    Returns:
        The reason, or "" where they are fresh.
    """
    if reason := _other_concept(anchors.request.concept, concept):
        return reason
    if pool is not None and _digest(anchors, "pool") != source_of(pool, "pool").sha256:
        return "the anchors were selected from another state of the pool"
    if model is None:
        return ""
    if anchors.request.model is None:
        return "the anchors were selected without a model"
    if not _same_folder(anchors, "checkpoint", model):
        return "the anchors were selected with another model"
    return ""


def stage_seconds(record: Manifest) -> dict[str, float]:
    """Collect how long each stage took, walking from a record to its inputs.

    An input that has moved or changed since is left out: its time would be another run's.
    """
    found: dict[str, float] = {}
    waiting = [record]
    while waiting:
        current = waiting.pop()
        found.setdefault(STAGES[current.kind], current.run.seconds)
        for source in current.inputs:
            folder = Path(source.path)
            known = source.kind in STAGES and os.path.isfile(folder / RECORD_NAME)
            if known and digest_file(folder / RECORD_NAME) == source.sha256:
                waiting.append(read_record(folder))
    return {stage: found[stage] for stage in STAGES.values() if stage in found}


def done_already(folder: Path, request: BaseModel) -> Record | None:
    """Return the record of a folder that answers this very request on unchanged inputs, or None.

    Its own files are not looked at: who uses them asks for `damage`.

    Raises:
        ArtifactFault: It is an audit of a checkpoint whose files are not those that it judged: its verdict would be
            told of others.
    """
    if not (folder / RECORD_NAME).is_file():
        return None
    record = read_record(folder)
    if not _answers(record.request, request) or record.space_version != __version__:
        return None
    if isinstance(record, AuditReport) and _policy_changed(record):
        return None
    if not all(_is_unchanged(Path(source.path), source) for source in record.inputs):
        return None
    if isinstance(record, AuditReport):
        _refuse_altered_checkpoints(record)
    return record


def damage(folder: Path, record: Record) -> str:
    """Say which file of a finished folder is not what was written, or "" where all are."""
    try:
        check_files(folder, record.files)
    except ArtifactFault as fault:
        return fault.message
    return ""


def _answers(done: BaseModel, request: BaseModel) -> bool:
    """Return whether one request's result serves another; a selection that asked a model as well serves one without."""
    if isinstance(done, SelectRequest) and isinstance(request, SelectRequest) and request.model is None:
        done = done.model_copy(update={"model": None, "revision": None})
    return type(done) is type(request) and done == request


def _policy_changed(record: AuditReport) -> bool:
    if record.request.policy is None:
        return False  # it changes with the version only
    from space_cli.io.probe import policy_bytes

    return hashlib.sha256(policy_bytes(record.request.policy)).hexdigest() != record.policy_sha256


def _refuse_altered_checkpoints(record: AuditReport) -> None:
    # The digest of an input that `space` wrote is that of its record: the weights may be others all the same.
    for source in record.inputs:
        if source.kind in {"erased", "baseline"}:
            open_artifact(Path(source.path), "erased", alone=True)


def _is_unchanged(folder: Path, source: Source) -> bool:
    if not os.path.exists(folder):
        return False
    try:
        return source_of(folder, source.kind).sha256 == source.sha256
    except ArtifactFault:  # it can be no such input any more
        return False


def _other_concept(chosen: Concept, concept: Concept) -> str:
    if chosen.name != concept.name:
        return f"the anchors are for `{chosen.name}`"
    return "" if chosen == concept else f"the anchors are for `{chosen.name}` with other aliases, phrase or kind"


def _digest(record: Manifest, kind: str) -> str | None:
    return next((source.sha256 for source in record.inputs if source.kind == kind), None)


def _same_folder(record: Manifest, kind: str, folder: Path) -> bool:
    source = next((source for source in record.inputs if source.kind == kind), None)
    same = source is not None and Path(source.path).resolve() == folder.resolve()
    return source is not None and same and _is_unchanged(folder, source)
