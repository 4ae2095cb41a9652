"""Share of right answers about other concepts' images, against the checkpoint before the first request.

Each request may cost a little and pass; this tells what all of them cost together. `before` is measured on the
checkpoint under audit with the edits of every request taken off while it is asked. Unit: share. Direction: higher is
better. Pictures of concepts that any request erased are not among those asked about.

Deviations:
    - `before` is the checkpoint of then up to one rounding a request in the checkpoint's dtype.
    - A request that edited nothing but the chat template (`prompt`) cannot be taken off.
"""

from space_cli.core.asking import by_image, named_rightly, rightly
from space_cli.core.continual import asked_at_first
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe
from space_cli.metrics.retain_accuracy import Options

NEEDS = frozenset({"earlier", "retain"})
DEFAULT = False
"""It runs where `--metrics` names it, and by itself on a checkpoint with earlier requests."""
CONTINUED = True


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask about every retained image, as the checkpoint is and as it was before the first request."""
    del before  # it is the checkpoint before the last request alone
    questions = AUDIT_OPEN[: options.phrasings]
    images = [one.image for one in probe.retain]
    old = rightly(asked_at_first(after, images, questions, probe.undo), probe.retain, questions, probe)
    new = named_rightly(after, probe.retain, questions, probe)
    note = f"{len(images)} images; over {len(probe.earlier) + 1} requests"
    return score(old, new, better="higher", groups=by_image(images, questions), seed=probe.seed, note=note)
