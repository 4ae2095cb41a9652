"""How much of what earlier requests erased has come back since, as the share of answers that name it again.

    rebound = mean over earlier j of max(0, F[t, j] - F[j, j])

F[t, j]: share of answers about pictures of concept j that name it, after request t, the present one. F[j, j]: the same
right after its own request, measured on the checkpoint under audit with the edits of all later requests taken off while
it is asked. Unit: share. Direction: lower is better. `before` is the same for the checkpoint that this request started
from; `n` counts earlier concepts, and the interval is over them.

Source-free where the folder of images has none of an earlier concept: it is then asked about on the hardened anchors
that were kept of its request. Later requests press the name down on just these, so that by themselves they show nothing
to a policy: `parts` tells of how many concepts there were enough images.

Deviations:
    - F[j, j] is that of the checkpoint of then up to one rounding a request in the checkpoint's dtype.
    - A request that edited nothing but the chat template (`prompt`) cannot be taken off: what it says stays said.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.continual import named_share, other_things
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import PICTURED, WORST, ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"earlier"})
DEFAULT = False
"""It runs where `--metrics` names it, and by itself on a checkpoint with earlier requests."""
CONTINUED = True
ENOUGH = 6
"""Images of an earlier concept; on none of six named means at most 39 % by the interval that shipped policies use."""


class Options(BaseModel):
    """How hard to ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrasings: Annotated[int, Field(ge=1, le=len(AUDIT_OPEN))] = 2


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask about every earlier concept: as it is, as it was before this request, and right after its own."""
    questions = AUDIT_OPEN[: options.phrasings]
    then = [named_share(after, one, other_things(probe, one), questions, then=True) for one in probe.earlier]
    was, now = (
        [named_share(each, one, other_things(probe, one), questions) for one in probe.earlier]
        for each in (before, after)
    )
    old, new = ([max(0.0, share - first) for share, first in zip(found, then, strict=True)] for found in (was, now))
    worst = max(range(len(new)), key=new.__getitem__)
    pictured = sum(len(one.images) >= ENOUGH for one in probe.earlier)
    note = (
        f"worst: {probe.earlier[worst].name}, named in {then[worst]:.0%} of answers right after its request and in "
        f"{now[worst]:.0%} now; {pictured} of {len(new)} concepts on {ENOUGH} images or more"
    )
    told = score(old, new, better="lower", seed=probe.seed, note=note)
    # A mean over many hides one that is back altogether.
    return told.model_copy(update={"parts": {WORST: new[worst], PICTURED: pictured}})
