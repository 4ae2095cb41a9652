"""What a score must be: rules that turn scores into one verdict.

A rule compares one bound of a score's interval with a threshold. Where the threshold lies inside
the interval, so that the mean meets it and the asked bound does not, the evidence is too thin: inconclusive.
"""

import itertools
import tomllib

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from space_cli.core.errors import UsageFault
from space_cli.core.records import GateRecord, ScoreRecord, Verdict

ORDER = ("low", "mean", "high")
"""Of the figures that a rule may bound."""
Threshold = Annotated[float, Field(allow_inf_nan=False)]


class Rule(BaseModel):
    """What one score must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: str
    at_most: Threshold | None = None
    at_least: Threshold | None = None
    bound: Literal["mean", "low", "high"] = Field(default="mean", description="Which end of the interval is compared")
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
        what = self.score if self.bound == "mean" else f"{self.bound} end of {self.score}"
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
    except tomllib.TOMLDecodeError as failure:
        raise UsageFault(f"`{origin}` is not TOML: {failure}") from None
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageFault(f"`{origin}` is no policy: {where}: {first['msg']}") from None
    for rule in policy.rule:
        if rule.score not in known:
            raise UsageFault(f"`{origin}` asks for the unknown score `{rule.score}`: known are {', '.join(known)}")
        if rule.at_most is None and rule.at_least is None:
            raise UsageFault(f"`{origin}`: the rule about {rule.score} has neither `at_most` nor `at_least`")
    _refuse_contradictions(policy, origin)
    return policy


def judge(policy: Policy, scores: Mapping[str, ScoreRecord]) -> tuple[Verdict, list[GateRecord]]:
    """Apply every rule: fail if one fails, else inconclusive if one is, else pass.

    A policy that decides nothing makes every rule inconclusive, so that a report without consequences neither
    stops a pipeline as a failure nor can be mistaken for a pass.
    """
    gates = [_gate(rule, scores.get(rule.score), rule.min_n or policy.min_n) for rule in policy.rule]
    if not policy.decides:
        gates = [_undecided(gate) for gate in gates]
    found = {gate.verdict for gate in gates}
    verdict: Verdict = "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"
    return verdict, gates


def _refuse_contradictions(policy: Policy, origin: str) -> None:
    for floor, ceiling in itertools.product(policy.rule, repeat=2):
        same = (floor.score, floor.ratio_of_before) == (ceiling.score, ceiling.ratio_of_before)
        # An end that must lie high contradicts only a ceiling on itself or on an end above it.
        if not same or ORDER.index(floor.bound) > ORDER.index(ceiling.bound):
            continue
        least, most = floor.at_least, ceiling.at_most
        if least is not None and most is not None and least > most:
            raise UsageFault(f"`{origin}` contradicts itself: {floor.score} must be ≥ {least:g} and ≤ {most:g}")


def _undecided(gate: GateRecord) -> GateRecord:
    if gate.verdict == "inconclusive":
        return gate
    return gate.model_copy(update={"verdict": "inconclusive", "reason": f"would be {gate.verdict}: {gate.reason}"})


def _gate(rule: Rule, score: ScoreRecord | None, enough: int) -> GateRecord:
    verdict, reason = _decide(rule, score, enough)
    return GateRecord(score=rule.score, rule=rule.text(), verdict=verdict, reason=reason)


def _decide(rule: Rule, score: ScoreRecord | None, enough: int) -> tuple[Verdict, str]:
    name = rule.score
    if score is None or score.after is None or score.low is None or score.high is None:
        return ("inconclusive" if rule.required else "pass"), f"{name} was not measured"
    if lack := _lack(rule, score, enough):
        return "inconclusive", f"{name} {lack}"
    scale = score.before if rule.ratio_of_before and score.before else 1.0
    value = {"mean": score.after, "low": score.low, "high": score.high}[rule.bound] / scale
    mean = score.after / scale
    if not _meets(rule, value) and _meets(rule, mean):
        return (
            "inconclusive",
            f"{name} has the mean {mean:.3f}, which meets it, but its {rule.bound} end is {value:.3f}",
        )
    return ("pass" if _meets(rule, value) else "fail"), f"{rule.text(limits=False)} is {value:.3f}"


def _lack(rule: Rule, score: ScoreRecord, enough: int) -> str:
    if score.n < enough:
        return f"has only {score.n} independent values: {enough} are needed"
    before = score.before or 0.0
    if rule.before_at_least is not None and before < rule.before_at_least:
        return f"was {before:.3f} before erasing: {rule.before_at_least:g} is needed to measure a change"
    return "was 0 before erasing, so there is no ratio" if rule.ratio_of_before and not before else ""


def _meets(rule: Rule, value: float) -> bool:
    over = rule.at_most is not None and value > rule.at_most
    under = rule.at_least is not None and value < rule.at_least
    return not (over or under)
