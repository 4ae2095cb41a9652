"""The search of learning rate and steps that every rival gets on each subject's dev concepts.

First the rates at `RATES_AT` steps, then the steps at the best rate. Either row begins in its middle and goes on beside
the best value until both its sides were tried. Best is the highest mean of the harmonic mean over the dev concepts; of
equals the fewer steps, then the smaller rate.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from benchmarks.league.entries import FIRST_RATES, FIRST_STEPS, RATES, RATES_AT, STEPS, Entry, Settings
from benchmarks.league.scoring import completed, figures_mean
from benchmarks.league.subjects import Subject
from benchmarks.tables import Row

Value = TypeVar("Value", int, float)


def open_settings(rows: Sequence[Row], method: str, *, wanted: int) -> list[Settings]:
    """Return what the search asks for next; empty when it is done.

    Args:
        rows: The search so far, of one subject.
        method: The entry's name.
        wanted: Dev concepts that a setting must have been tried on.
    """
    known = scored(rows, method, wanted=wanted)
    rates = {rate: mean for (rate, steps), mean in known.items() if steps == RATES_AT}
    if missing := beside(RATES, FIRST_RATES, rates):
        return [{"lr": rate, "steps": RATES_AT} for rate in missing]
    best = min(rates, key=lambda rate: (-rates[rate], rate))
    lengths = {steps: mean for (rate, steps), mean in known.items() if rate == best}
    return [{"lr": best, "steps": steps} for steps in beside(STEPS, FIRST_STEPS, lengths)]


def choice(rows: Sequence[Row], method: str, *, wanted: int) -> dict[str, Any] | None:
    """Return the best setting with what it was chosen by, or None where nothing was searched or it is not done."""
    known = scored(rows, method, wanted=wanted)
    if not known or open_settings(rows, method, wanted=wanted):
        return None
    rate, steps = _best(known)
    return {
        "settings": {"lr": rate, "steps": steps},
        "criterion": "highest mean harmonic mean on dev concepts",
        "harmonic_mean": known[rate, steps],
        "concepts": sorted({row["concept"] for row in rows if row["method"] == method}),
        "tried": len(known),
    }


def choices(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return subject -> rival -> the setting that its finished search chose, for the subject's newest weights.

    Args:
        rows: All searches.
    """
    newest = {row["subject"]: row["checkpoint"] for row in rows}
    found: dict[str, dict[str, Any]] = {}
    for subject, checkpoint in newest.items():
        own = [row for row in rows if row["subject"] == subject and row["checkpoint"] == checkpoint]
        for name in dict.fromkeys(row["method"] for row in own):
            tried = [row for row in own if row["method"] == name]
            chosen = choice(own, name, wanted=len({row["concept"] for row in tried}))
            if chosen:
                found.setdefault(subject, {})[name] = chosen | {"checkpoint": checkpoint}
    return found


def scored(rows: Sequence[Row], method: str, *, wanted: int) -> dict[tuple[float, int], float]:
    """Return (rate, steps) -> mean harmonic mean, of settings that were tried on all dev concepts."""
    found: dict[tuple[float, int], list[Row]] = {}
    for row in completed(rows):
        if row["method"] == method:
            found.setdefault((row["settings"]["lr"], row["settings"]["steps"]), []).append(row)
    means = {key: figures_mean(each) for key, each in found.items() if len({r["concept"] for r in each}) >= wanted}
    return {key: mean for key, mean in means.items() if mean is not None}


def tuned(entry: Entry, chosen: Mapping[str, Any] | None) -> Entry:
    """Return an entry with the setting that was chosen, or as it is."""
    return entry if chosen is None else entry.with_settings(chosen["settings"])


def tuned_for(entry: Entry, subject: Subject, found: Mapping[str, Mapping[str, Any]]) -> Entry:
    """Return an entry with the setting that `choices` found for these very weights, or as it is."""
    chosen = found.get(subject.name, {}).get(entry.name)
    return tuned(entry, chosen if chosen and chosen["checkpoint"] == subject.digest else None)


def beside(ladder: Sequence[Value], first: Sequence[Value], known: dict[Value, float]) -> list[Value]:
    """Return the values to try next: the first ones, then those beside the best until both were tried."""
    missing = [value for value in first if value not in known]
    if missing:
        return missing
    place = ladder.index(min(known, key=lambda value: (-known[value], value)))
    return [value for value in ladder[max(0, place - 1) : place + 2] if value not in known]


def _best(known: dict[tuple[float, int], float]) -> tuple[float, int]:
    return min(known, key=lambda key: (-known[key], key[1], key[0]))
