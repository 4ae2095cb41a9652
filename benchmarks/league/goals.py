"""What ours is to reach, and whether it does, on photograph subjects."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.league import costs
from benchmarks.league.entries import ORACLE, OURS, RIVALS
from benchmarks.league.scoring import best, completed, photographs, shared
from benchmarks.tables import Row, Stats, with_spread

GOALS = (
    ("forget_accuracy", "at most", 0.05),
    ("forget_choice_accuracy", "at most", 0.12),
    ("retain_accuracy, relative", "at least", 0.985),
    ("neighbour_accuracy, relative", "at least", 0.95),
    ("text_knowledge, relative", "at least", 0.97),
)
ABOVE = "harmonic mean minus the best rival's"


def lines_of(result: Mapping[str, Any], timed: Sequence[Row]) -> list[str]:
    """Return the lines of the table of goals, and on what the best rival was chosen.

    Args:
        result: What stands in `league.json`.
        timed: Rows of the commands that match the table's.
    """
    ours, paired = result["summary"].get(OURS, {}), result["paired"]
    rows = completed(photographs(result["rows"]))
    against, chosen = _best_rival(rows, paired)
    lines = ["| figure of ours | found | goal | met |", "|---|---|---|---|", *against]
    if ORACLE in paired:
        found = paired[ORACLE]
        lines.append(_goal("harmonic mean minus the oracle's", found, "at least -0.02", found["mean"] >= -0.02))
    for name, side, limit in GOALS:
        if name in ours:
            met = ours[name]["mean"] <= limit if side == "at most" else ours[name]["mean"] >= limit
            lines.append(_goal(name, ours[name], f"{side} {limit:g}", met))
    return [*lines, costs.goal(timed), *chosen]


def _best_rival(rows: Sequence[Row], paired: Mapping[str, Stats]) -> tuple[list[str], list[str]]:
    """Return the line of the goal to be above the best rival, and the words about who was asked."""
    there = {row["method"] for row in rows}
    playing = [name for name in RIVALS if name in there]
    if not playing or OURS not in there:
        return [], []
    cells = shared(rows, (OURS, *playing))
    goal = "interval above 0"
    if not cells:
        return [f"| {ABOVE} | no cell that all rivals and ours share | {goal} | not known |"], []
    (rival,) = best(rows, OURS, RIVALS, 1)
    found = paired[rival]
    told = (
        f"The best rival is the best of {', '.join(playing)} on the cells that they and ours share: {len(cells)}. Ours "
        f"is compared with it on the {found['n']} cells that both have."
    )
    # A few concepts have no interval, and show nothing.
    return [_goal(f"{ABOVE}, {rival}", found, goal, found.get("low", 0.0) > 0)], ["", told]


def _goal(name: str, found: Stats, goal: str, met: bool) -> str:
    return f"| {name} | {with_spread(found, '.4f')} | {goal} | {'yes' if met else 'no'} |"
