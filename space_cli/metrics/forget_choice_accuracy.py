"""Share of the concept's images whose most likely name, among twenty, is still the concept's.

A model can stop saying a name and still know it. Here every candidate is scored where the checkpoint would
say it, by its mean log p per token, so that long names are not at a disadvantage.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import torch

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.asking import ask_each, spread
from space_cli.core.matching import spans, words
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe, Prompt

NEEDS = frozenset({"forget", "names"})
BY_NEARNESS = True
"""It takes the names nearest to the concept, or those farthest from it."""
IMAGES = 16
"""Images whose features are held at once."""
LEADS = 32
"""Images of each source whose answers show how the checkpoint opens one."""


class Options(BaseModel):
    """Which candidates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    others: Annotated[int, Field(ge=1)] = 19  # nearest names beside the concept's


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Rank the concept's name among the nearest other names; a tie counts as its share of a guess."""
    lead, article = _usual_wording(before, probe)
    candidates = [phrase if article else name for name, phrase in _candidates(probe, options.others)]
    old, new = (_first_choices(responder, probe, candidates, lead) for responder in (before, after))
    place = f", read after “{lead}”" if lead else ""
    note = f"chance {1 / len(candidates):.3f} among {len(candidates)} names{place}"
    return score(old, new, better="lower", seed=probe.seed, note=note)


def _usual_wording(responder: Responder, probe: Probe) -> tuple[str, bool]:
    """Return how this checkpoint opens an answer before it says a name, and whether with its article.

    Read from the answers that name their image; a checkpoint that names none is asked for the bare phrase.
    """
    others, own = spread(probe.retain, LEADS), spread(probe.forget, LEADS)
    answers = ask_each(responder, [one.image for one in (*others, *own)], [AUDIT_OPEN[0]])
    names = [(one.name, probe.phrases.get(one.name, one.name)) for one in others]
    names += [(probe.name, probe.phrase) for _ in own]
    wordings = Counter(
        (answer[: found[0][0]].rstrip(), form == phrase)
        for answer, (name, phrase) in zip(answers, names, strict=True)
        # The phrase first: a bare name stands inside it, too.
        for form in dict.fromkeys((phrase, name))
        if (found := spans(answer, [form])) and (form == phrase or not spans(answer, [phrase]))
    )
    return wordings.most_common(1)[0][0] if wordings else ("", True)


def _candidates(probe: Probe, others: int) -> list[tuple[str, str]]:
    """Return the concept and the nearest other names, each with its phrase."""
    own = {tuple(words(name)) for name in (*probe.aliases, probe.phrase)}
    found = {probe.phrase: probe.name}
    for name in probe.names:
        if tuple(words(name)) not in own:
            found.setdefault(probe.phrases.get(name, name), name)
    return [(name, phrase) for phrase, name in found.items()][: others + 1]


@torch.inference_mode()
def _first_choices(responder: Responder, probe: Probe, candidates: Sequence[str], lead: str) -> list[float]:
    batch = responder.batch([Prompt(AUDIT_OPEN[0], name, 0, lead=lead, ends=False) for name in candidates])
    chosen = []
    for start in range(0, len(probe.forget), IMAGES):
        features = responder.features([one.image for one in probe.forget[start : start + IMAGES]])
        for row in range(len(features)):
            likely = responder.log_likelihood(batch, features[row : row + 1]).double()
            best = likely >= likely.max()
            chosen.append(float(best[0] / best.sum()))
    return chosen
