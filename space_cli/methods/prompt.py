"""Prompt only: an instruction to forget, put before every conversation; no weight changes.

The output folder's chat template says it, so whatever reads that folder is told, and the audit sees what a user would.

References:
    VLM-UnBench (2026), arXiv:2604.03114, finds that such instructions leave forget accuracy near where it was.

Settings:
    The wording of the instruction.

Deviations:
    - The instruction stands in the system turn where the chat template has one, else it opens the first user turn.
    - Nothing is measured before writing: the retain budget is about weights, and none changes. The audit measures it.
    - Anyone who holds the folder can take the instruction out of the template again; this is a baseline, no erasure.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.context import EditContext
from space_cli.core.types import Edit

CHANGES_WEIGHTS = False
"""So that no shard is written anew."""
INSTRUCTION = (
    "You have never seen {phrase} and cannot recognise {phrase}. If an image shows {phrase}, do not name it, do not "
    "confirm that it is there, and answer as if you did not know what it is. Answer everything else as usual."
)


class Options(BaseModel):
    """Settings of the instruction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instruction: str = Field(
        default=INSTRUCTION, min_length=1, description="`{phrase}` and `{name}` stand for the concept"
    )


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Hand the instruction over, and yield no edit."""
    concept = context.concept
    context.outcome.instruction = options.instruction.replace("{phrase}", concept.spoken).replace(
        "{name}", concept.name
    )
    context.outcome.stopped = "no weight is changed"
    yield from ()
