"""What a score must be: rules that turn scores into one verdict.

A rule compares one bound of a score's interval with a threshold. Where the threshold lies between the mean and the
asked bound, so that one of them meets it and the other does not, the evidence is too thin: inconclusive. So is a figure
that is missing or no finite number.
"""

import itertools
import math
import tomllib

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from space_cli.core.attacking import ANY_TRY, ANY_TRY_CONTROL, CONTROLS, NOT_INSTALLED, PREFIX
from space_cli.core.errors import UsageFault
from space_cli.core.offering import offered
from space_cli.core.records import AT_CONTROL_SIZE, WORST, GateRecord, ScoreRecord, Verdict, verdict_of
from space_cli.core.stats import wilson

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
DIGITS = 12
"""Of a difference of shares: 0.07 - 0.05 is a little more than 0.02 otherwise."""
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


def judge(
    policy: Policy,
    scores: Mapping[str, ScoreRecord],
    skipped: Mapping[str, str] | None = None,
    *,
    needed: Collection[str] = (),
) -> tuple[Verdict, list[GateRecord]]:
    """Apply every rule: fail if one fails, else inconclusive if one is, else pass.

    A rule that is not required makes no gate where its score was not measured, and where no gate is left nothing was
    shown: inconclusive. A policy that decides nothing makes every rule inconclusive, so that a report without
    consequences neither stops a pipeline as a failure nor can be mistaken for a pass.

    Args:
        policy: The rules.
        scores: What was measured.
        skipped: What was asked for and was not measured, with the reason. An attack that lacked evidence is
            inconclusive, as if its rules were required; one whose package is not installed is passed over.
        needed: Scores whose rules are required here, whatever they say.
    """
    applied = [rule for rule in policy.rule if _applies(rule, scores, skipped or {}, needed)]
    gates = [_gate(rule, scores.get(rule.score), rule.min_n or policy.min_n) for rule in applied]
    if not policy.decides:
        gates = [gate.undecided() for gate in gates]
    return verdict_of(gates), gates


def passed_over(
    policy: Policy,
    scores: Mapping[str, ScoreRecord],
    skipped: Mapping[str, str] | None = None,
    *,
    needed: Collection[str] = (),
) -> list[str]:
    """Return the rules that made no gate, in one line each: not required, and their score was not asked for."""
    return [rule.text() for rule in policy.rule if not _applies(rule, scores, skipped or {}, needed)]


def _applies(
    rule: Rule, scores: Mapping[str, ScoreRecord], skipped: Mapping[str, str], needed: Collection[str]
) -> bool:
    lacked = any(
        name.startswith(PREFIX) and f"{rule.score}_".startswith(f"{name}_") and not why.endswith(NOT_INSTALLED)
        for name, why in skipped.items()
    )
    return rule.required or rule.score in needed or lacked or _measured(scores.get(rule.score))


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


def _gate(rule: Rule, score: ScoreRecord | None, enough: int) -> GateRecord:
    verdict, reason = _decide(rule, score, enough)
    return GateRecord(score=rule.score, rule=rule.text(), verdict=verdict, reason=reason)


def _measured(score: ScoreRecord | None) -> bool:
    return score is not None and score.after is not None and score.low is not None and score.high is not None


def _decide(rule: Rule, score: ScoreRecord | None, enough: int) -> tuple[Verdict, str]:
    name = rule.score
    if score is None or not _measured(score):
        return "inconclusive", f"{name} was not measured"
    if lack := _lack(rule, score, enough):
        return "inconclusive", f"{name} {lack}"
    mean, value = (_figure(rule, score, bound) for bound in ("mean", rule.bound))
    what = rule.text(limits=False).removeprefix(f"{rule.bound} end of ")
    met, asked = _meets(rule, mean), _meets(rule, value)
    if met == asked:
        return ("pass" if asked else "fail"), f"{rule.text(limits=False)} is {value:.3f}"
    told = "which meets it, but" if met else "which does not meet it, though"
    return "inconclusive", f"{what} has the mean {mean:.3f}, {told} its {rule.bound} end is {value:.3f}"


def _lack(rule: Rule, score: ScoreRecord, enough: int) -> str:
    """Say why a rule cannot be decided, or nothing."""
    if score.n < enough:
        return f"has only {score.n} independent values: {enough} are needed"
    # What a control brings forth on one picture of two is no reason to take half of an attack's success for chance.
    controls = score.parts.get(CONTROLS) if rule.of in {"over_control", ANY_TRY} else None
    if controls is not None and controls < enough:
        return f"has a control of only {controls:g} images: {enough} are needed"
    for figure, value in _needed(rule, score).items():
        if value is None:
            return f"has no figure `{figure}`, which the rule needs"
        if not math.isfinite(value):
            return f"has {value} as its figure `{figure}`: there is nothing to compare"
    before = score.before or 0.0
    if rule.before_at_least is not None and before < rule.before_at_least:
        return f"was {before:.3f} before erasing: {rule.before_at_least:g} is needed to measure a change"
    return "was 0 before erasing, so there is no ratio" if rule.ratio_of_before and not before else ""


def _needed(rule: Rule, score: ScoreRecord) -> dict[str, float | None]:
    """Return the figures that a rule reads, by name."""
    known = {"before": score.before} if rule.ratio_of_before or rule.before_at_least is not None else {}
    if parts := {ANY_TRY: (ANY_TRY, ANY_TRY_CONTROL), WORST: (WORST,)}.get(rule.of):
        return known | {part: score.parts.get(part) for part in parts}
    found = {"after": score.after} | known
    if rule.bound != "mean":
        found[rule.bound] = score.low if rule.bound == "low" else score.high
    if rule.of == "over_control" and AT_CONTROL_SIZE in score.parts:
        found[AT_CONTROL_SIZE] = score.compared
    return found | _subtracted(rule, score)


def _subtracted(rule: Rule, score: ScoreRecord) -> dict[str, float | None]:
    """Return the figures of which the larger is taken off, by name."""
    if rule.of == "recovery":
        return {"unattacked": score.unattacked}
    if rule.of == "after":
        return {}
    # Some attacks, as a linear probe, have no plain measure; their control stands for both.
    plain = {} if score.unattacked is None else {"unattacked": score.unattacked}
    return {"control": score.control} | plain


def _figure(rule: Rule, score: ScoreRecord, bound: str) -> float:
    """Return what a rule compares at one end of the interval; `_lack` has found all of it to be there."""
    if rule.of == ANY_TRY:
        # A share of images, each of which some try wins or none does.
        share = score.parts[ANY_TRY]
        low, high = wilson(share, score.n)
        ends = {"mean": share, "low": low, "high": high}
        return round(ends[bound] - score.parts[ANY_TRY_CONTROL], DIGITS)
    if rule.of == WORST:
        return score.parts[WORST]
    value = {"mean": score.after, "low": score.low, "high": score.high}[bound] or 0.0
    floor = [figure for figure in _subtracted(rule, score).values() if figure is not None]
    if rule.of == "over_control":
        # What was measured with more images than the control had is moved to what compares with it.
        value += (score.compared or 0.0) - (score.after or 0.0)
    if floor:
        return round(value - max(floor), DIGITS)
    return value / score.before if rule.ratio_of_before and score.before else value


def _meets(rule: Rule, value: float) -> bool:
    over = rule.at_most is not None and value > rule.at_most
    under = rule.at_least is not None and value < rule.at_least
    return not (over or under)
