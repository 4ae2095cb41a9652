"""What a policy makes of an audit: the verdict, with all that decided it and what did not."""

from dataclasses import dataclass

from space_cli.core.examining import Found, continued_metrics
from space_cli.core.gating import judge, passed_over
from space_cli.core.overlap import with_gate
from space_cli.core.policy import Policy
from space_cli.core.records import GateRecord, Verdict


@dataclass(frozen=True)
class Judgement:
    """The verdict on an audit."""

    verdict: Verdict
    gates: list[GateRecord]
    passed_over: list[str]  # rules that decided nothing, since their score was not asked for


def judged(policy: Policy, found: Found, *, continued: bool, unseen: GateRecord | None) -> Judgement:
    """Apply a policy to what was found.

    Args:
        policy: The rules.
        found: The scores.
        continued: Whether earlier requests erased from the checkpoint. What came back must then have been
            looked at, if the policy has a rule about it: not to look is no way to meet it.
        unseen: Whether the images are new to the checkpoint, where it was trained on any.
    """
    needed = continued_metrics() if continued else ()
    verdict, gates = judge(policy, found.scores, found.skipped, needed=needed)
    over = passed_over(policy, found.scores, found.skipped, needed=needed)
    return Judgement(with_gate(verdict, unseen), [*gates, unseen], over) if unseen else Judgement(verdict, gates, over)
