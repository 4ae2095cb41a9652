"""Share of answers about other concepts' images that name them rightly."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import by_image, named_rightly
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"retain"})


class Options(BaseModel):
    """How hard to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrasings: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask openly about every image of another concept, neighbours included."""
    questions = AUDIT_OPEN[: options.phrasings]
    old, new = (named_rightly(responder, probe.retain, questions, probe) for responder in (before, after))
    names = len({one.name for one in probe.retain})
    groups = by_image([one.image for one in probe.retain], questions)
    note = f"{len(probe.retain)} images of {names} concepts"
    return score(old, new, better="higher", groups=groups, seed=probe.seed, note=note)
