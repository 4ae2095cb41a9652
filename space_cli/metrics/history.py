"""How well earlier requests still hold: the share of answers that do not name what they erased.

    history = mean over earlier j of (1 - F[t, j])

F[t, j]: share of answers about pictures of concept j that name it, after request t, the present one. Unit: share.
Direction: higher is better. `before` is the same for the checkpoint that this request started from; `n` counts earlier
concepts, and the interval is over them.

Source-free where the folder of images has none of an earlier concept, as in `rebound`.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.continual import named_share, other_things
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"earlier"})
DEFAULT = False
"""It runs where `--metrics` names it, and by itself on a checkpoint with earlier requests."""
CONTINUED = True


class Options(BaseModel):
    """How hard to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrasings: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask about every earlier concept, before this request and after it."""
    questions = AUDIT_OPEN[: options.phrasings]
    old, new = (
        [1 - named_share(responder, one, other_things(probe, one), questions) for one in probe.earlier]
        for responder in (before, after)
    )
    least = min(range(len(new)), key=new.__getitem__)
    pictured = sum(bool(one.images) for one in probe.earlier)
    note = f"least: {probe.earlier[least].name}, {new[least]:.0%}; {pictured} of {len(new)} concepts on images"
    return score(old, new, better="higher", seed=probe.seed, note=note)
