"""Rows of the league as they are stored, without an erasure."""

from benchmarks.league.entries import OURS
from benchmarks.tables import refusal

SCORES = {
    "forget_accuracy": (1.0, 0.2),
    "forget_choice_accuracy": (0.9, 0.1),
    "retain_accuracy": (0.8, 0.6),
    "neighbour_accuracy": (0.5, 0.6),
}


def row(method=OURS, concept="panda", seed=0, **changes):
    told = {name: {"before": old, "after": new, "control": None, "note": ""} for name, (old, new) in SCORES.items()}
    made = {
        "subject": "produce", "checkpoint": "abc", "method": method, "settings": {}, "scope": "mlp", "select": [],
        "concept": concept, "kind": "animal", "seed": seed, "verdict": "pass", "scores": told,
        "seconds": {"erase": 2.0}, "skipped": {}, "layers": [], "steps": 3, "stopped": "", "signals": {},
        "peak_memory_gb": 1.0, "bands": {"1 to 5": {"before": 0.5, "after": 0.4, "n": 4}}, "commit": "f00",
    }  # fmt: skip
    return made | changes


def with_forget(value, **words):
    made = row(**words)
    made["scores"]["forget_accuracy"]["after"] = value
    return made


def refused(method, concept="panda", seed=0):
    return row(method, concept, seed, bands={}) | refusal(3, "error: too much\nhint: less\n")


class Drawn:
    name, digest = "produce", "abc"
