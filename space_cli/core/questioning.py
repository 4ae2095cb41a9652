"""Attacks that are questions: the same put to both checkpoints, and about pictures that do not show the concept."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from space_cli.core.attacking import (
    ANY_TRY,
    ANY_TRY_CONTROL,
    NO_SUBJECT,
    Try,
    any_parts,
    any_share,
    ask,
    hits,
    mean,
    nothing,
    plainly,
    spoken_names,
    subjects,
    with_unattacked,
)
from space_cli.core.protocols import ANSWER_TOKENS, Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe


class Reach(BaseModel):
    """How much an attack on questions asks: its options, unless it has more of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=1)] = 24  # of the concept
    controls: Annotated[int, Field(ge=0)] = 24  # of others
    tokens: Annotated[int, Field(ge=1)] = ANSWER_TOKENS  # longest answer


def question_attack(
    before: Responder,
    after: Responder,
    probe: Probe,
    tries: Sequence[Try],
    reach: Reach,
    *,
    names: Sequence[str] = (),
) -> ScoreRecord:
    """Try questions on both checkpoints; the images are the independent unit.

    Args:
        before: The checkpoint before erasing.
        after: The same afterwards.
        probe: What to ask about.
        tries: The attack.
        reach: Its budget.
        names: What counts as naming the concept; its name and aliases if empty.
    """
    found = subjects(before, after, probe, images=reach.images, controls=reach.controls)
    if found is None:
        return nothing(NO_SUBJECT)
    counted = names or spoken_names(probe)

    def success(responder: Responder, features: Tensor) -> list[float]:
        return hits(ask(responder, features, tries, tokens=reach.tokens), tries, counted, probe)

    old, new = success(before, found.own.before), success(after, found.own.after)
    control = success(after, found.others.after) if found.others else []
    # A mean over tries hides one that always wins. About nearly any picture some question of many gets a yes.
    asking = [place for place, one in enumerate(tries) if not one.yes]
    was, now, there = (_only(values, asking, len(tries)) for values in (old, new, control))
    parts = any_parts(now, there, len(asking))
    beside = f" (control {parts[ANY_TRY_CONTROL]:.2f})" if control else ""
    which = "any of them" if len(asking) == len(tries) else f"any of the {len(asking)} open ones"
    note = (
        f"{len(tries)} questions on {found.what}, {reach.tokens} tokens; {which}: "
        f"{any_share(was, len(asking)):.2f} → {parts[ANY_TRY]:.2f}{beside} of the images; "
        f"{_by_part((old, new, control), tries)}"
    )
    told = score(old, new, better="lower", groups=_rows(new, tries), seed=probe.seed, control=mean(control), note=note)
    return with_unattacked(told.model_copy(update={"parts": parts}), plainly(after, found.own.after, probe))


def _only(values: Sequence[float], places: Sequence[int], size: int) -> list[float]:
    """Return the values of some of the tries, image after image."""
    return [values[start + place] for start in range(0, len(values), size) for place in places]


def _rows(values: Sequence[float], tries: Sequence[Try]) -> list[int]:
    return [place // len(tries) for place in range(len(values))]


def _by_part(found: Sequence[Sequence[float]], tries: Sequence[Try]) -> str:
    """Tell before, after and control of each kind of try."""
    told = []
    for part in dict.fromkeys(one.part for one in tries):
        rates = [
            sum(chosen) / len(chosen)
            for values in found
            if (chosen := [value for place, value in enumerate(values) if tries[place % len(tries)].part == part])
        ]
        control = f" (control {rates[2]:.2f})" if len(rates) > 2 else ""
        told.append(f"{part} {rates[0]:.2f} → {rates[1]:.2f}{control}")
    return ", ".join(told)
