"""Share of answers about the nearest concepts' images that name them rightly: where damage shows first."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import by_image, named_rightly
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"retain", "neighbours"})


class Options(BaseModel):
    """How hard to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrasings: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask openly about the images of neighbours only."""
    shown, questions = probe.near, AUDIT_OPEN[: options.phrasings]
    old, new = (named_rightly(responder, shown, questions, probe) for responder in (before, after))
    groups = by_image([one.image for one in shown], questions)
    note = f"nearest first: {', '.join(probe.neighbours)}"
    return score(old, new, better="higher", groups=groups, seed=probe.seed, note=note)
