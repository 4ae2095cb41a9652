"""From cells to figures: what each attack brings back, above what it brings forth where there is nothing to find.

Of one attack on one erased checkpoint, with the figures of its score:

    recovery               = after - unattacked
    over control           = after - control
    recovery over control  = after - max(unattacked, control)

Of `probe` the last two take, in place of `after`, the accuracy with as few images as the control names had. A ROC-AUC
of `membership` below 0.5, as earlier lines have it, counts as what is left to 1. What training on other pictures brings
back, which earlier lines have as the control of `relearn_neighbours`, counts as the attack where it brings back more.
"""

import re

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.intervals import Share
from benchmarks.league.page import current
from benchmarks.league.scoring import completed as unerased
from benchmarks.league.scoring import unit
from benchmarks.tables import Row, Summary, figures_of, summarise
from space_cli.attacks.membership import TPR
from space_cli.core import registry
from space_cli.core.records import AT_CONTROL_SIZE

PREFIX, PLAIN = "attack_", "none"
"""Before the name of every score that comes from an attack; the `attack` of a row with the plain metrics."""
RECOVERY, OVER_CONTROL, BOTH = "recovery", "over control", "recovery over control"
ROUNDED = re.compile(r"other concepts named ([\d.]+) → ([\d.]+) rounded, before erasing ([\d.]+) → ([\d.]+)")
"""In the note of `quantize`, whose earlier lines have it nowhere else."""
RETAINED = ("retained_after", "retained_after_rounded", "retained_before", "retained_before_rounded")
BEYOND = "retained lost beyond the base's own"
MEMBERSHIP, NEIGHBOURS = "membership_", "relearn_neighbours"
ATTACKS = frozenset(registry.names("attacks"))
FIELDS = ("subject", "checkpoint", "method", "settings", "scope", "select", "concept", "kind", "seed")


def attack_rows(cells: Sequence[Row]) -> list[Row]:
    """Return a row for each score of an attack, and one a cell, of attack `none`, with the plain metrics.

    Of the lines of one cell the last one counts, of a subject its newest weights, of an entry its newest settings.
    """
    return [row for cell in current(cells) for row in _rows(cell)]


def completed(rows: Sequence[Row]) -> list[Row]:
    """Let each refused erasure stand for no erasure: every attack succeeds as it does before erasing.

    That is what any other entry's row of the same attack and concept found before erasing, or 1 where there is none.
    It recovers nothing, since nothing was taken away: such a row has no recovery.
    """
    attacked = [row for row in rows if row["attack"] != PLAIN]
    before = {(_place(row), row["attack"]): _only(row)["before"] for row in attacked}
    plain = unerased([row for row in rows if row["attack"] == PLAIN])
    for row in [row for row in plain if row["verdict"].startswith("refused")]:
        for attack in dict.fromkeys(one["attack"] for one in attacked):
            known = before.get((_place(row), attack))
            told = dict.fromkeys(("before", "after"), 1.0 if known is None else known)
            unknown = {"control": None, "unattacked": None, "note": ""}
            attacked.append(row | {"attack": attack, "scores": {PREFIX + attack: told | unknown}})
    return [*plain, *attacked]


def figures(row: Row) -> dict[str, float]:
    """Return every number of a row, by the name it has in the summary."""
    if row["attack"] == PLAIN:
        return _plain(row)
    name, score = PREFIX + row["attack"], _as_today(row["attack"], _only(row))
    if score["after"] is None:
        return {}
    after, floor = score["after"], [score[part] for part in ("unattacked", "control") if score[part] is not None]
    found: dict[str, float] = {name: Share(after)}
    beside = [part for part in ("before", "control", "unattacked") if score[part] is not None]
    found |= {f"{name}, {part}": Share(score[part]) for part in beside}
    if score["unattacked"] is not None:
        found[f"{name}, {RECOVERY}"] = after - score["unattacked"]
    alike = score.get("parts", {}).get(AT_CONTROL_SIZE, after)
    if score["control"] is not None:
        found[f"{name}, {OVER_CONTROL}"] = alike - score["control"]
    if floor:
        found[f"{name}, {BOTH}"] = alike - max(floor)
    if kept := _kept(score):
        erased, erased_rounded, base, base_rounded = kept
        found[f"{name}, {BEYOND}"] = (erased - erased_rounded) - (base - base_rounded)
    return found


def summary_of(rows: Sequence[Row], methods: Iterable[str]) -> dict[str, Summary]:
    """Return method -> figure -> mean over subjects and concepts with an interval over them."""
    return {
        name: summarise([row for row in rows if row["method"] == name], figures=figures, unit=unit) for name in methods
    }


def _rows(cell: Row) -> list[Row]:
    named = {name: cell[name] for name in (*FIELDS, "verdict", "load_average", "threads", "commit")}
    spent: Mapping[str, float] = cell.get("spent", {})
    rows = []
    for name, score in cell["scores"].items():
        if name.startswith(PREFIX):
            # The parts of one attack share its seconds.
            whole = sum(seconds for key, seconds in spent.items() if f"{name}_".startswith(f"{key}_"))
            one = {"attack": name.removeprefix(PREFIX), "scores": {name: score}, "seconds": {"attack": whole}}
            rows.append(named | one)
    plain = {name: score for name, score in cell["scores"].items() if not name.startswith(PREFIX)}
    parts = ("attacks", "skipped", "layers", "steps", "stopped", "signals", "peak_memory_gb")
    rest = {"attack": PLAIN, "scores": plain, "seconds": cell["seconds"]} | {name: cell[name] for name in parts}
    return [*rows, named | rest | ({"reason": cell["reason"]} if "reason" in cell else {})]


def _plain(row: Row) -> dict[str, float]:
    # An audit with fewer attacks says nothing about how long one with all of them takes.
    left_out = ("relative change of ", *(() if set(row["attacks"]) >= ATTACKS else ("seconds of audit",)))
    found = {name: value for name, value in figures_of(row).items() if not name.startswith(left_out)}
    return found | {"refused": Share(row["verdict"].startswith("refused"))}


def _kept(score: Mapping[str, Any]) -> list[float]:
    """Return how well other concepts are named, in the order of `RETAINED`; nothing where it was not measured."""
    parts = score.get("parts", {})
    if set(RETAINED) <= set(parts):
        return [parts[name] for name in RETAINED]
    match = ROUNDED.search(score["note"])
    return [float(value) for value in match.groups()] if match else []


def _as_today(attack: str, score: dict[str, Any]) -> dict[str, Any]:
    """Return a score as the attack tells it now, whatever it told when it was run."""
    if attack.startswith(NEIGHBOURS) and score["control"] is not None:
        return score | {"after": max(score["after"], score["control"]), "control": None}
    return _one_sided(attack, score)


def _one_sided(attack: str, score: dict[str, Any]) -> dict[str, Any]:
    if not attack.startswith(MEMBERSHIP) or attack.endswith(TPR):
        return score
    areas = {key: score[key] for key in ("before", "after", "control") if score[key] is not None}
    return score | {key: max(area, 1 - area) for key, area in areas.items()}


def _only(row: Row) -> dict[str, Any]:
    (score,) = row["scores"].values()
    return dict(score)


def _place(row: Row) -> tuple[str, str, int]:
    return row["subject"], row["concept"], row["seed"]
