"""The search of learning rate and steps, and of a mask's τ, that every rival gets on each subject's dev concepts.

First the rates at `RATES_AT` steps, then the steps at the best rate. Either row begins in its middle and goes on beside
the best value until both its sides were tried; of equals beside the larger, so that a plateau is left upwards, where a
rival does more. Then, where a mask decides what is trained, each τ at the best rate and steps. Best is the highest mean
of the harmonic mean over the dev concepts; of equals the fewer steps, then the smaller rate, then the larger τ.

At last everything around the best point of that cross, rate and steps together, for as long as a better one is found: a
slow rate that needs many steps lies on neither row. A search that has not come to that end counts, and is marked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from benchmarks.league.entries import (
    FIRST_RATES,
    FIRST_STEPS,
    MASKED,
    RATES,
    RATES_AT,
    STEPS,
    TAU,
    TAUS,
    Entry,
    Settings,
)
from benchmarks.league.scoring import completed, figures_mean
from benchmarks.tables import Row

LEAST = 2
"""Dev concepts that a choice rests on at least, while the search goes on to more of them."""
Value = TypeVar("Value", int, float)
Point = tuple[float, int, float]
"""Rate, steps and τ; τ is 1 for all that have none."""


def open_settings(rows: Sequence[Row], method: str, *, wanted: int) -> list[Settings]:
    """Return what the search asks for next; empty when it is done.

    Args:
        rows: The search so far, of one subject.
        method: The entry's name.
        wanted: Dev concepts that a setting must have been tried on.
    """
    known = scored(rows, method, wanted=wanted)
    rates = {rate: mean for (rate, steps, tau), mean in known.items() if (steps, tau) == (RATES_AT, TAU)}
    if missing := beside(RATES, FIRST_RATES, rates):
        return [_settings((rate, RATES_AT, TAU)) for rate in missing]
    best = _top(rates)
    lengths = {steps: mean for (rate, steps, tau), mean in known.items() if (rate, tau) == (best, TAU)}
    if longer := beside(STEPS, FIRST_STEPS, lengths):
        return [_settings((best, steps, TAU)) for steps in longer]
    points = [(best, _top(lengths), tau) for tau in TAUS] if method in MASKED else []
    return [_settings(point) for point in points if point not in known]


def around_best(rows: Sequence[Row], method: str, *, wanted: int) -> list[Settings]:
    """Return what `open_settings` leaves around the best point; empty when the search has come to its end."""
    known = scored(rows, method, wanted=wanted)
    rate, steps, tau = _best(known)
    points = [(r, s, tau) for r in _near(RATES, rate) for s in _near(STEPS, steps)]
    return [_settings(point) for point in points if point not in known]


def choice(rows: Sequence[Row], method: str, *, wanted: int) -> dict[str, Any] | None:
    """Return the best setting with what it was chosen by, or None where nothing was searched or it is not done."""
    known = scored(rows, method, wanted=wanted)
    if not known or open_settings(rows, method, wanted=wanted):
        return None
    point = _best(known)
    return {
        "settings": _settings(point),
        "criterion": "highest mean harmonic mean on dev concepts",
        "harmonic_mean": known[point],
        "concepts": sorted({row["concept"] for row in rows if row["method"] == method}),
        "tried": len(known),
        "ended": not around_best(rows, method, wanted=wanted),
    }


def choices(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return subject -> rival -> the setting that its finished search chose, for the newest weights that have one.

    Where a search was finished on some dev concepts and goes on with more of them, the choice on the former holds until
    it is finished on all.

    Args:
        rows: All searches.
    """
    found: dict[str, dict[str, Any]] = {}
    for subject, name in dict.fromkeys((row["subject"], row["method"]) for row in rows):
        own = [row for row in rows if (row["subject"], row["method"]) == (subject, name)]
        for checkpoint in dict.fromkeys(row["checkpoint"] for row in reversed(own)):
            if chosen := _finished([row for row in own if row["checkpoint"] == checkpoint], name):
                found.setdefault(subject, {})[name] = chosen | {"checkpoint": checkpoint}
                break
    return found


def scored(rows: Sequence[Row], method: str, *, wanted: int) -> dict[Point, float]:
    """Return each point's mean harmonic mean, of those that were tried on all dev concepts."""
    found: dict[Point, list[Row]] = {}
    for row in completed(rows):
        if row["method"] == method:
            settings = row["settings"]
            found.setdefault((settings["lr"], settings["steps"], settings.get("tau", TAU)), []).append(row)
    means = {key: figures_mean(each) for key, each in found.items() if len({r["concept"] for r in each}) >= wanted}
    return {key: mean for key, mean in means.items() if mean is not None}


def tuned_for(entry: Entry, subject: str, found: Mapping[str, Mapping[str, Any]]) -> Entry:
    """Return an entry with the setting that `choices` found for a subject, or as it is.

    Weights trained anew on another machine differ in each digit and not in what they are: until they are searched,
    the setting of those before holds, and the page says so.
    """
    chosen = found.get(subject, {}).get(entry.name)
    return entry if chosen is None else entry.with_settings(chosen["settings"])


def beside(ladder: Sequence[Value], first: Sequence[Value], known: dict[Value, float]) -> list[Value]:
    """Return the values to try next: the first ones, then those beside the best until both were tried."""
    missing = [value for value in first if value not in known]
    if missing:
        return missing
    return [value for value in _near(ladder, _top(known)) if value not in known]


def _near(ladder: Sequence[Value], value: Value) -> Sequence[Value]:
    place = ladder.index(value)
    return ladder[max(0, place - 1) : place + 2]


def _finished(rows: Sequence[Row], method: str) -> dict[str, Any] | None:
    """Return the choice on all dev concepts of a search, or on as many of the first ones as it is finished on."""
    concepts = list(dict.fromkeys(row["concept"] for row in rows))
    for count in range(len(concepts), min(LEAST, len(concepts)) - 1, -1):
        tried = [row for row in rows if row["concept"] in concepts[:count]]
        if chosen := choice(tried, method, wanted=count):
            return chosen
    return None


def _settings(point: Point) -> dict[str, Any]:
    """Return a point as `--set` has it; a τ of 1 is the default, and stays away from methods that have none."""
    rate, steps, tau = point
    return {"lr": rate, "steps": steps} | ({} if tau == TAU else {"tau": tau})


def _top(known: Mapping[Value, float]) -> Value:
    """Return the value to go on beside: the best one, of equals the largest."""
    return max(known, key=lambda value: (known[value], value))


def _best(known: Mapping[Point, float]) -> Point:
    return min(known, key=lambda point: (-known[point], point[1], point[0], -point[2]))
