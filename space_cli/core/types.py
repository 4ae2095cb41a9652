"""The values that flow between stages and plug-ins; none of them opens a file or knows a model class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from PIL.Image import Image
from torch import Tensor

from space_cli.core.hooks import Change
from space_cli.core.products import product_in_order

Role = Literal["forget", "holdout", "neighbour", "general"]
ROLES: tuple[Role, ...] = ("forget", "holdout", "neighbour", "general")
Rows = Sequence[int] | None
"""Rows of visual features that questions are about; None where each has its own, in order."""


@dataclass(frozen=True)
class Item:
    """One image of a pool."""

    sha256: str  # of the encoded bytes as found
    source: str  # folder, tar or parquet file, absolute
    member: str  # path inside the source; for a folder, the relative path
    width: int  # pixels
    height: int  # pixels


@dataclass(frozen=True)
class Anchor:
    """A pool item with the part it plays in one erasure."""

    item: Item
    role: Role
    similarity: float  # cosine to the concept's text embedding
    activation: float | None  # mean nats per token of log p(name | image); None without a model


@dataclass(frozen=True)
class Edit:
    """A change of one linear layer: low-rank factors, or a dense delta where the method is dense."""

    layer: str  # module name in memory
    left: Tensor | None = None  # [d_out, r] float32
    right: Tensor | None = None  # [r, d_in] float32, W_new = W + left @ right
    dense: Tensor | None = None  # [d_out, d_in] float32

    def delta(self) -> Tensor:
        """Return ΔW, [d_out, d_in] float32."""
        if self.dense is not None:
            return self.dense
        assert self.left is not None, "an edit has factors or a dense delta"
        assert self.right is not None, "an edit has both factors"
        return self.left @ self.right

    def written_delta(self) -> Tensor:
        """Return ΔW as it is written, checked and taken back: the same on every machine to the bit."""
        if self.left is None or self.right is None:
            return self.delta()
        return product_in_order(self.left, self.right)


@dataclass(frozen=True)
class Prompt:
    """One turn shown to a checkpoint: a question, maybe about an image, with the answer to teach or score."""

    question: str
    answer: str
    image: int | None = None  # row of the features it is asked about; None for text only
    lead: str = ""  # opening of the answer that is given, not scored: "This is"
    ends: bool = True  # the end token belongs to the answer; False scores the bare words


@dataclass(frozen=True)
class Batch:
    """Prompts as token ids, right-padded; all about images, or none.

    Shapes: b = prompts, t = tokens, p = visual tokens, v = tower width.
    """

    ids: Tensor  # [b, t] int64, the image placeholder already repeated p times
    mask: Tensor  # [b, t] int64, 1 on real tokens
    labels: Tensor  # [b, t] int64, -100 outside the answer
    images: Tensor | None  # [b] int64, rows of the features; None for text only


@dataclass(frozen=True)
class ProbeImage:
    """An image whose truth an auditor knows."""

    image: Image
    name: str  # the concept it shows
    path: str  # as the auditor gave it


@dataclass(frozen=True)
class ErasedBefore:
    """A concept that an earlier request erased from the same checkpoint, and what it is asked about on."""

    name: str
    aliases: tuple[str, ...]  # the name and every alias
    images: Sequence[ProbeImage] = ()  # the auditor's
    anchors: Tensor | None = None  # [n, p, v], hardened anchors kept of its request, where there are no images
    undo: Mapping[str, Change] = field(default_factory=dict)  # by layer, takes off what later requests edited


@dataclass(frozen=True)
class Probe:
    """Everything a metric may look at."""

    name: str  # the erased concept
    phrase: str  # with its article
    aliases: tuple[str, ...]  # the name and every alias
    kind: str | None  # what kind of thing it is, where somebody said so
    forget: Sequence[ProbeImage] = ()  # the concept, never used in erasing
    retain: Sequence[ProbeImage] = ()  # other concepts, neighbours included
    neighbours: tuple[str, ...] = ()  # names in `retain` nearest to the concept, nearest first
    names: tuple[str, ...] = ()  # other names for forced choice and controls, nearest first where `ordered`
    ordered: bool = True  # by nearness; else by the alphabet, since the pool's encoder is not at hand
    phrases: dict[str, str] = field(default_factory=dict)  # name -> name with article
    facts: Sequence[tuple[str, str]] = ()  # text-only (question, expected answer) about the concept
    other_facts: Sequence[tuple[str, str]] = ()  # the same about every other name
    kinds: dict[str, str] = field(default_factory=dict)  # name -> what kind of thing, where somebody said so
    used: Sequence[Image] = ()  # what erasing trained on: its forget anchors, or the images it was given
    holdout: Sequence[Image] = ()  # held-out anchors: pool images that erasing did not train on
    general: Sequence[Image] = ()  # pool images of anything else
    earlier: Sequence[ErasedBefore] = ()  # what earlier requests erased
    undo: Mapping[str, Change] = field(default_factory=dict)  # by layer, takes every request's edits off
    seed: int = 0

    @property
    def near(self) -> list[ProbeImage]:
        """Return the retained images of neighbours."""
        return [one for one in self.retain if one.name in self.neighbours]

    @property
    def far(self) -> list[ProbeImage]:
        """Return the retained images of anything else."""
        return [one for one in self.retain if one.name not in self.neighbours]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int
