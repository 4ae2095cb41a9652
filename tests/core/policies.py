"""Policies and scores that tests write out."""

from space_cli.core.policy import parse_policy
from space_cli.core.records import ScoreRecord

ATTACK = "attack_jailbreak"
KNOWN = ("forget_accuracy", "retain_accuracy", "retain_kl", "rebound", ATTACK)


def policy(*rules, head='name = "test"'):
    return parse_policy("\n".join((head, *(f"[[rule]]\n{rule}" for rule in rules))), origin="p.toml", known=KNOWN)


def figure(after, low=None, high=None, *, before=1.0, n=50):
    return ScoreRecord(
        before=before,
        after=after,
        low=after if low is None else low,
        high=after if high is None else high,
        n=n,
        better="lower",
    )


FORGET = 'score = "forget_accuracy"\nat_most = 0.1'
