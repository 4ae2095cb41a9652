"""Who takes part, and which settings the search of a rival goes through."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Settings = Mapping[str, Any]

OURS, ORACLE = "dcsi", "oracle"
RIVALS = ("ga", "ga-diff", "kl-min", "po", "npo", "siu", "mmunlearner")
"""Methods that train on images of the concept."""
SEARCHED = (*RIVALS, "space-paper")
"""Entries whose learning rate and steps are searched on dev concepts; the instruction of `prompt` has neither."""
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
STEPS = (5, 10, 20, 40, 80, 160, 320)
"""The grid. A search begins in the middle and goes on beside the best value until both its sides were tried."""
FIRST_RATES, FIRST_STEPS = RATES[2:6], STEPS[2:5]
RATES_AT = 40
"""Steps that the rates are compared at."""
MASKED = ("mmunlearner",)
"""Entries that train what a mask lets through; its threshold is searched last, whole."""
TAU = 1.0
"""The published threshold, and the default: rates and steps are searched with it."""
TAUS = (1.0, 0.3, 0.1, 0.01)
"""The smaller, the more the mask lets through."""
NO_LIMITS = {"max_change": 100.0, "max_retain_kl": 1000.0, "max_neighbour_loss": 1.0}
UNLIMITED = tuple(part for name, value in NO_LIMITS.items() for part in (f"--{name.replace('_', '-')}", f"{value:g}"))
"""The budgets of `space erase` are part of our method; a rival is measured whatever it costs."""

SMALL = (
    "--candidates", "64", "--anchors", "16", "--holdout", "8", "--neighbours", "80", "--general", "160",
)  # fmt: skip
"""A selection that a quick look can afford."""


@dataclass(frozen=True)
class Entry:
    """One row of the table: a method with its settings."""

    name: str
    method: str
    settings: Settings = field(default_factory=dict)  # `--set`
    images: bool = False  # whether it is given images of the concept
    limited: bool = False  # whether the budgets of `space erase` hold
    gated: bool = True  # whether one that breaks leaves nothing to measure; else the row tells it beside the scores
    scope: str = "mlp"
    select: tuple[str, ...] = ()  # further words of `space select`

    def with_settings(self, settings: Settings) -> "Entry":
        """Return the same entry with other settings."""
        return replace(self, settings=dict(settings))


def entries() -> dict[str, Entry]:
    """Return every entry by name, at default settings: ours, the oracle, the published description, the rivals."""
    found = [
        Entry(OURS, "dcsi", limited=True),
        Entry(ORACLE, "dcsi", {"oracle": True}, images=True, limited=True),
        Entry("space-paper", "space-paper", select=("--ranking", "similarity")),
        Entry("prompt", "prompt"),
        *(Entry(name, name, images=True) for name in RIVALS),
    ]
    return {entry.name: entry for entry in found}
