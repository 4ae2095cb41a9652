"""All that `space` writes as JSON: the `space.json` of each folder."""

import secrets

from collections.abc import Hashable, Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from space_cli.core.recipe import AuditRequest, Concept, EraseRequest, IndexRequest, SelectRequest

SCHEMA_VERSION: Literal[1] = 1
AT_CONTROL_SIZE = "at_control_size"
"""Among the parts of a score: the same measure after erasing, with no more images than the control had."""
WORST = "worst"
"""The worst of what the score is the mean of."""
PICTURED = "pictured"
"""Of how many of its `n` values there were images to ask about; a policy needs all."""
Verdict = Literal["pass", "fail", "inconclusive"]
SourceKind = Literal["pool", "anchors", "erased", "audit", "checkpoint", "encoder", "images", "baseline"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRecord(_Record):
    """One file by relative path and content."""

    path: str
    sha256: str
    bytes: int

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        # Readers join it to their folder, to read and to write: a record from elsewhere must not lead out of it.
        if any(part in {"", ".", ".."} for part in path.split("/")) or "\\" in path or "\0" in path:
            raise ValueError(f"{path!r} is no path inside the folder")
        return path


class Source(_Record):
    """An input folder of a stage: where it was, and the digest of what it said then."""

    kind: SourceKind
    path: str
    sha256: str = Field(description="Of its `space.json`; of its sorted file list for a foreign folder")


class Run(_Record):
    """What differs between two equal runs; no digest covers it."""

    created: str  # ISO 8601, UTC
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    host: dict[str, str | int | float] = Field(default_factory=dict)


class Manifest(_Record):
    """What every folder's `space.json` holds."""

    kind: Literal["pool", "anchors", "erased", "audit"]
    schema_version: Literal[1] = SCHEMA_VERSION
    space_version: str
    seed: int
    inputs: list[Source]
    files: list[FileRecord]
    run: Run


class PoolManifest(Manifest):
    """A finished `pool/`."""

    kind: Literal["pool"] = "pool"
    request: IndexRequest
    images: int
    errors: int
    duplicates: int = Field(default=0, description="Further copies of an image, by content")
    width: int = Field(description="Embedding dimensions")
    encoder_sha256: str


class LayerLeverage(_Record):
    """Share of the anchors' key energy that lies in a layer's safe subspace."""

    layer: str
    leverage: float
    free: int = Field(description="Dimensions of the safe subspace")
    width: int = Field(description="Dimensions of the layer's input")


class AnchorsManifest(Manifest):
    """A finished `anchors/`."""

    kind: Literal["anchors"] = "anchors"
    request: SelectRequest
    floor: float = Field(description="Similarity under which an image is no candidate")
    top_similarity: float
    roles: dict[str, int]
    leaks: int = Field(description="Candidates that the model itself names as the concept, kept out")
    activation_rate: float | None = Field(
        description="Share of forget anchors as active as known names; None without a model"
    )
    activation_reference: float | None
    leverage: list[LayerLeverage]


class LayerReceipt(_Record):
    """What one layer's edit is and what it leaks onto retained keys."""

    layer: str
    parameter: str = Field(description="Name in the checkpoint's files")
    rank: int
    relative_change: float = Field(description="||ΔW|| / ||W||, Frobenius")
    leak: float = Field(description="||ΔW K|| / ||W K|| on held-out retained keys, float32")
    leak_rounded: float = Field(description="The same after rounding W + ΔW to the checkpoint's dtype")
    retained_energy: float = Field(description="Share of held-out retained energy in the edit's input directions")
    free: int | None = Field(default=None, description="Free directions; None for a first request")
    used: float | None = Field(
        default=None, description="Share of them that all requests so far use; None for a first request"
    )


class Pseudonymized(_Record):
    """A folder that names its concept by a keyed hash only."""

    key_id: str = Field(description="Keyed hash that tells keys apart, and nothing else")
    withheld: list[Source] = Field(default_factory=list, description="Inputs that name the concept; not walked into")


class ErasureReceipt(Manifest):
    """A finished `erased/`."""

    kind: Literal["erased"] = "erased"
    request: EraseRequest
    dtype: str
    layers: list[LayerReceipt]
    steps: int
    stopped: str = Field(description="Which rule ended the run")
    signals: dict[str, float] = Field(description="Source-free signals at the end: name_nll, retain_kl, …")
    instruction: str = Field(default="", description="Put before every conversation by the chat template")
    base_files: list[FileRecord] = Field(description="Every file of the checkpoint that was edited")
    ledger: str = Field(default="", description="Hash of the ledger's last line")
    requests: int = Field(default=1, description="Lines of the ledger")
    used: float | None = Field(
        default=None, description="Mean over layers of the used share of free directions; None for a first request"
    )
    spent: float = Field(
        default=0.0, description="Share of the retain budget, which counts from the checkpoint before the first request"
    )
    meter: str = Field(default="", description="What the meter says, in a sentence; empty for a first request")
    salt: str = Field(
        default_factory=lambda: secrets.token_hex(16),
        description="Random, and in no report: the digest of a receipt would confirm a guessed name without it",
    )
    pseudonymized: Pseudonymized | None = Field(default=None, description="Set where a pseudonym stands for it")

    @property
    def changed(self) -> dict[str, str]:
        """SHA-256 of each file of the edited checkpoint that is not the original's, by relative path.

        These are its weight files; of a method that says something to the checkpoint its chat templates.
        """
        original = {(entry.path, entry.sha256) for entry in self.base_files}
        own = (entry for entry in self.files if not entry.path.startswith("space/"))
        return {entry.path: entry.sha256 for entry in own if (entry.path, entry.sha256) not in original}

    @model_validator(mode="after")
    def _own_to_images(self) -> Self:
        # An audit compares its images with these where the request names them: whoever takes that out is found.
        if self.request.forget_images is None and any(source.kind == "images" for source in self.inputs):
            raise ValueError("images are among the inputs, though the request has no `forget_images`")
        return self


Samples = tuple[tuple[Hashable, float, float], ...]
"""What was asked about, sum of the answers about it, and their number."""


class ScoreRecord(_Record):
    """One audit number: before, after, and the 95 % bootstrap interval of after."""

    before: float | None
    after: float | None
    low: float | None
    high: float | None
    n: int
    better: Literal["lower", "higher"]
    unit: str = "share"
    note: str = ""
    control: float | None = Field(default=None, description="The same measure on control concepts, after")
    unattacked: float | None = Field(
        default=None, description="The same measure after erasing without the attack; what is above it is recovered"
    )
    parts: dict[str, float] = Field(default_factory=dict, description="Figures that stand beside the score, by name")
    curves: dict[str, list[tuple[float, float]]] = Field(
        default_factory=dict,
        description="`before`, `after` and `control` as [step, value], where the score has a course",
    )

    # No part of the record: it is for what compares two checkpoints while both are at hand.
    _samples: Samples = PrivateAttr(default=())

    @property
    def samples(self) -> Samples:
        """Return what was answered after erasing, image by image; nothing of a record from a file."""
        return self._samples

    def sampled(self, samples: Samples) -> Self:
        """Return the record with its samples."""
        copy = self.model_copy()
        copy._samples = samples
        return copy

    def __eq__(self, other: object) -> bool:
        """Compare what a reader of the record sees."""
        return isinstance(other, ScoreRecord) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        """Return the same for equal records."""
        return hash(self.model_dump_json())

    @property
    def compared(self) -> float | None:
        """Return what compares with the control: `after`, unless it was measured with more than the control was."""
        return self.parts.get(AT_CONTROL_SIZE, self.after)


class GateRecord(_Record):
    """One rule of the policy with what it decided."""

    score: str
    rule: str
    verdict: Verdict
    reason: str

    def undecided(self) -> Self:
        """Return the same gate as a policy that decides nothing has it: inconclusive, with what it would be."""
        if self.verdict == "inconclusive":
            return self
        return self.model_copy(update={"verdict": "inconclusive", "reason": f"would be {self.verdict}: {self.reason}"})


def verdict_of(gates: Iterable[GateRecord]) -> Verdict:
    """Return what follows from rules: fail if one fails, else inconclusive if one is or there is none, else pass."""
    found = {gate.verdict for gate in gates}
    return "fail" if "fail" in found else "pass" if found == {"pass"} else "inconclusive"


class AuditReport(Manifest):
    """A finished `audit/`; `verdict` alone drives text, JSON, HTML and exit code."""

    kind: Literal["audit"] = "audit"
    request: AuditRequest
    concept: Concept
    verdict: Verdict
    scores: dict[str, ScoreRecord]
    baseline: dict[str, ScoreRecord] = Field(
        default_factory=dict, description="The same scores of another erased checkpoint; no rule reads them"
    )
    skipped: dict[str, str] = Field(description="Metric -> why it was not run")
    gates: list[GateRecord]
    passed_over: list[str] = Field(
        default_factory=list, description="Rules without a gate: not required, and their score was not measured"
    )
    policy: str
    policy_sha256: str
    seconds: dict[str, float]
    pseudonymized: Pseudonymized | None = Field(default=None, description="Set where a pseudonym stands for it")


Record = PoolManifest | AnchorsManifest | ErasureReceipt | AuditReport


def record_type(kind: str) -> type[Record] | None:
    """Return the record class of a folder kind, or None."""
    types: dict[str, Any] = {
        "pool": PoolManifest,
        "anchors": AnchorsManifest,
        "erased": ErasureReceipt,
        "audit": AuditReport,
    }
    return types.get(kind)
