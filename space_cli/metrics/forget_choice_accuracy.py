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
IMAGES = 16
"""Images whose features are held at once."""
LEADS = 32
"""Images of each source whose answers show how the checkpoint opens one."""


class Options(BaseModel):
    """Which candidates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    others: Annotated[int, Field(ge=1)] = 19  # nearest names beside the concept's


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Rank the concept's phrase among the nearest other names; a tie counts as its share of a guess."""
    phrases = _candidates(probe, options.others)
    lead = _usual_lead(before, probe)
    old, new = (_first_choices(responder, probe, phrases, lead) for responder in (before, after))
    note = f"chance {1 / len(phrases):.3f} among {len(phrases)} names" + (
        f", read after “{lead}”" if lead else ""
    )
    return score(old, new, better="lower", seed=probe.seed, note=note)


def _usual_lead(responder: Responder, probe: Probe) -> str:
    """Return how this checkpoint opens an answer before it says the name; empty where it names nothing."""
    others, own = spread(probe.retain, LEADS), spread(probe.forget, LEADS)
    answers = ask_each(responder, [one.image for one in (*others, *own)], [AUDIT_OPEN[0]])
    phrases = [*(probe.phrases.get(one.name, one.name) for one in others), *(probe.phrase for _ in own)]
    leads = [
        answer[: found[0][0]].rstrip()
        for answer, phrase in zip(answers, phrases, strict=True)
        if (found := spans(answer, [phrase]))
    ]
    return Counter(leads).most_common(1)[0][0] if leads else ""


def _candidates(probe: Probe, others: int) -> list[str]:
    own = {tuple(words(name)) for name in (*probe.aliases, probe.phrase)}
    names = [name for name in probe.names if tuple(words(name)) not in own]
    phrases = [probe.phrases.get(name, name) for name in names]
    return [probe.phrase, *dict.fromkeys(phrase for phrase in phrases if phrase != probe.phrase)][
        : others + 1
    ]


@torch.inference_mode()
def _first_choices(responder: Responder, probe: Probe, phrases: Sequence[str], lead: str) -> list[float]:
    batch = responder.batch([Prompt(AUDIT_OPEN[0], phrase, 0, lead=lead, ends=False) for phrase in phrases])
    chosen = []
    for start in range(0, len(probe.forget), IMAGES):
        features = responder.features([one.image for one in probe.forget[start : start + IMAGES]])
        for row in range(len(features)):
            likely = responder.log_likelihood(batch, features[row : row + 1]).double()
            best = likely >= likely.max()
            chosen.append(float(best[0] / best.sum()))
    return chosen
