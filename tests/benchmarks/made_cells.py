"""Rows of the robustness benchmark as they are stored, without an erasure."""

from benchmarks.league.entries import OURS
from benchmarks.robustness.audits import audit_of
from space_cli.core import registry

NAMES = registry.names("attacks")


def score(after, *, before=1.0, control=0.0, unattacked=0.0, note=""):
    return {"before": before, "after": after, "control": control, "unattacked": unattacked, "note": note}


def cell(method=OURS, concept="panda", seed=0, scores=None, **changes):
    plain = {"forget_accuracy": score(0.1, control=None, unattacked=None)}
    made = {
        "subject": "bundled", "checkpoint": "abc", "method": method, "settings": {}, "scope": "mlp", "select": [],
        "concept": concept, "kind": "animal", "seed": seed, "verdict": "pass",
        "scores": plain | {f"attack_{name}": one for name, one in (scores or {}).items()},
        "seconds": {"erase": 2.0, "audit": 90.0}, "spent": {"attack_quantize": 7.0, "forget_accuracy": 1.0},
        "skipped": {"attack_quantize_nf4": "bitsandbytes is not installed"}, "layers": [], "steps": 3, "stopped": "",
        "signals": {}, "peak_memory_gb": 1.0, "load_average": 0.0, "threads": 2, "commit": "f00", "attacks": NAMES,
        "audit": audit_of(NAMES),
    }  # fmt: skip
    return made | changes
