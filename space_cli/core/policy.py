"""What scores must be: a named list of rules, read from TOML. `core/gating.py` applies them."""

import itertools
import tomllib

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from space_cli.core.attacking import ANY_TRY, PREFIX
from space_cli.core.errors import UsageFault
from space_cli.core.offering import offered
from space_cli.core.records import WORST

ORDER = ("low", "mean", "high")
"""Of the figures that a rule may bound."""
PARTS = ("over_control", "recovery", "after")
"""Of a score that a rule may bound; none is above the next, since what is subtracted is a share. What any try wins is a
figure of its own, and so is the worst of several."""
WORDED = {
    "after": "",
    "recovery": "recovery of ",
    "over_control": "excess over control of ",
    ANY_TRY: "excess over control of any try of ",
    WORST: "worst of ",
}
Threshold = Annotated[float, Field(allow_inf_nan=False)]


class Rule(BaseModel):
    """What one score must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: str
    at_most: Threshold | None = None
    at_least: Threshold | None = None
    bound: Literal["mean", "low", "high"] = Field(default="mean", description="Which end of the interval is compared")
    of: Literal["after", "recovery", "over_control", "any_try", "worst"] = Field(
        default="after",
        description="What is compared: after; after - unattacked; after - the larger of control and unattacked; the "
        "share of images on which at least one of an attack's tries won - the same on its control; the worst of what a "
        "score is the mean of, where it tells it",
    )
    ratio_of_before: bool = Field(default=False, description="Compare after / before in place of after")
    before_at_least: Threshold | None = Field(
        default=None,
        description="Inconclusive if the score was lower before: nothing known, nothing to measure",
    )
    min_n: Annotated[int, Field(ge=1)] | None = Field(default=None, description="In place of the policy's own")
    required: bool = Field(
        default=True, description="A missing score is inconclusive; if false the rule is passed over"
    )

    def text(self, *, limits: bool = True) -> str:
        """Say in one line what the rule compares, and with what."""
        part = WORDED[self.of]
        what = f"{part}{self.score}" if self.bound == "mean" else f"{self.bound} end of {part}{self.score}"
        what += " / before" if self.ratio_of_before else ""
        bounds = {"≥": self.at_least, "≤": self.at_most}
        said = " and ".join(f"{sign} {limit:g}" for sign, limit in bounds.items() if limit is not None)
        return f"{what} {said}" if limits else what


class Policy(BaseModel):
    """A named list of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    decides: bool = Field(
        default=True, description="If false every rule is inconclusive, with what it would be as its reason"
    )
    min_n: Annotated[int, Field(ge=1)] = Field(default=10, description="Fewer independent images are no evidence")
    rule: Annotated[tuple[Rule, ...], Field(min_length=1)]


def parse_policy(text: str, *, origin: str, known: Sequence[str]) -> Policy:
    """Read a policy from TOML.

    Args:
        text: The TOML document.
        origin: Where it came from, for messages.
        known: Every score there is; a rule about another one could never be met.

    Raises:
        UsageFault: It is no TOML, has an unknown key or score, or a rule that nothing can meet.
    """
    try:
        policy = Policy.model_validate(tomllib.loads(text))
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        keys = f"keys of a policy are {', '.join(Policy.model_fields)}; of a rule {', '.join(Rule.model_fields)}"
        raise UsageFault(f"`{origin}` is no policy: {where}: {first['msg']}", hint=keys) from None
    except (ValueError, RecursionError) as failure:  # a number may be too long, and lists nested too deep
        raise UsageFault(f"`{origin}` is not TOML: {failure}", hint="write a `name` and `[[rule]]` tables") from None
    for rule in policy.rule:
        if rule.score not in known:
            raise UsageFault(
                f"`{origin}` asks for the unknown score `{rule.score}`: {offered(rule.score, known)}",
                hint=f"`space list metrics` names scores; those of `space list attacks` begin with `{PREFIX}`",
            )
        if rule.at_most is None and rule.at_least is None:
            hint = "give it one of them, as `at_most = 0.05`"
            raise UsageFault(f"`{origin}`: the rule about {rule.score} has neither `at_most` nor `at_least`", hint=hint)
        _refuse_meaningless(rule, origin)
    _refuse_contradictions(policy, origin)
    return policy


def _refuse_meaningless(rule: Rule, origin: str) -> None:
    if rule.of != "after" and rule.ratio_of_before:
        raise UsageFault(
            f"`{origin}`: the rule about {rule.score} asks for `{rule.of}` as a `ratio_of_before`",
            hint="before erasing nothing was recovered: leave one of the two out",
        )
    if rule.of in {"recovery", ANY_TRY} and not rule.score.startswith(PREFIX):
        raise UsageFault(
            f"`{origin}`: the rule about {rule.score} asks for its `{rule.of}`, which only an attack has",
            hint=f"scores of attacks begin with `{PREFIX}`",
        )
    if rule.of == WORST and rule.bound != "mean":
        asked = f"asks for an end of the `{WORST}`, which has none"
        raise UsageFault(f"`{origin}`: the rule about {rule.score} {asked}", hint="take its `bound` out")


def _refuse_contradictions(policy: Policy, origin: str) -> None:
    for floor, ceiling in itertools.product(policy.rule, repeat=2):
        same = (floor.score, floor.ratio_of_before) == (ceiling.score, ceiling.ratio_of_before)
        # An end that must lie high contradicts only a ceiling on itself or on an end above it; so with `of`.
        if not same or ORDER.index(floor.bound) > ORDER.index(ceiling.bound):
            continue
        if not _never_above(floor.of, ceiling.of):
            continue
        least, most = floor.at_least, ceiling.at_most
        if least is not None and most is not None and least > most:
            one, other = floor.text(limits=False), ceiling.text(limits=False)
            again = "" if one == other else f"{other} "
            found = f"{one} must be ≥ {least:g} and {again}≤ {most:g}"
            raise UsageFault(f"`{origin}` contradicts itself: {found}", hint="change or take out one of the limits")


def _never_above(part: str, other: str) -> bool:
    """Return whether one part of a score is never above another of the same score."""
    if not {part, other} <= set(PARTS):
        return part == other
    return PARTS.index(part) <= PARTS.index(other)
