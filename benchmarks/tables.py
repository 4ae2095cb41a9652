"""What the benchmarks share: rows on disk, figures of a row, and their means with intervals over concepts."""

import json
import math
import platform
import statistics
import subprocess

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.intervals import Share, interval

Row = dict[str, Any]
Stats = dict[str, float]
"""Of a figure: `mean`, `low`, `high`, `worst`, `n` rows and `units`; without `low` and `high` where units are few."""
Summary = dict[str, Stats]

RELATIVE = ("retain_accuracy", "neighbour_accuracy", "kind_accuracy", "text_knowledge", "specificity")
"""Scores that are reported as a share of what they were before."""
WORST_IS_HIGH = (
    "attack_",
    "forget_accuracy",
    "forget_choice_accuracy",
    "forget_yes_rate",
    "retain_kl",
    "elicitation",
    "fluency",
)


def read_rows(store: Path) -> list[Row]:
    """Read the rows computed so far; a file that is not there has none."""
    return [json.loads(line) for line in store.read_text("utf-8").splitlines()] if store.is_file() else []


def append_row(store: Path, row: Row) -> None:
    """Add one row in one write, so that several runs may share a file."""
    with store.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def shard_of(text: str) -> tuple[int, int]:
    """Read `I/N`: every N-th concept from the I-th on."""
    number, shards = (int(part) for part in text.split("/"))
    return number, shards


def refusal(exit_code: int, stderr: str) -> Row:
    """Return the fields of a row whose command refused: leaving it out would flatter the table."""
    reason = " ".join(line for line in stderr.splitlines() if line.startswith(("error:", "hint:"))) or "no message"
    return {
        "verdict": f"refused with exit code {exit_code}", "reason": reason, "scores": {}, "seconds": {},
        "skipped": {}, "layers": [], "steps": 0, "stopped": "", "signals": {}, "peak_memory_gb": 0.0,
    }  # fmt: skip


def outcome(told: Row, receipt: Row) -> Row:
    """Return what a row keeps of an audit's summary and an erasure's receipt."""
    return {
        "verdict": told["verdict"],
        "scores": told["scores"],
        "seconds": told["seconds"],
        "skipped": told["skipped"],
        "layers": [
            {key: layer[key] for key in ("layer", "relative_change", "leak", "leak_rounded")}
            for layer in receipt["layers"]
        ],
        "steps": receipt["steps"],
        "stopped": receipt["stopped"],
        "signals": receipt["signals"],
    }


def summarise(
    rows: Iterable[Row],
    *,
    figures: Callable[[Row], dict[str, float]] | None = None,
    unit: Callable[[Row], Any] = lambda row: row["concept"],
) -> Summary:
    """Return each figure's mean over units, every unit being the mean of its rows.

    Args:
        rows: Of one method.
        figures: The numbers of a row by name; those of `figures_of` if not given.
        unit: What is drawn anew for the interval.
    """
    values: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name, value in (figures or figures_of)(row).items():
            values[name][unit(row)].append(value)
    return {name: figure(name, list(by_unit.values())) for name, by_unit in sorted(values.items())}


def figures_of(row: Row) -> dict[str, float]:
    """Return every number of a row by the name it has in the summary; what a refusal did not spend is none."""
    found: dict[str, float] = {}
    for name, score in row["scores"].items():
        if score["after"] is not None:
            found |= _scored(name, score)
    found |= {f"seconds of {stage}": seconds for stage, seconds in row["seconds"].items()}
    for layer in row["layers"]:
        found[f"relative change of {layer['layer']}"] = layer["relative_change"]
    if row["layers"]:
        found["relative change, mean of layers"] = statistics.mean(one["relative_change"] for one in row["layers"])
        found["leak after rounding, largest layer"] = max(layer["leak_rounded"] for layer in row["layers"])
    if not row["verdict"].startswith("refused"):
        found["peak memory, GB"] = math.nan if row["peak_memory_gb"] is None else row["peak_memory_gb"]
        found["steps"] = row["steps"]
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _scored(name: str, score: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of one score."""
    told = Share if score.get("unit", "share") == "share" else float
    found: dict[str, float] = {name: told(score["after"])}
    if score["before"] is not None:
        found[f"{name}, before"] = told(score["before"])
    if score["before"] and name in RELATIVE:
        found[f"{name}, relative"] = score["after"] / score["before"]
    if score.get("control") is not None:
        found[f"{name}, control"] = told(score["control"])
    return found


def figure(name: str, by_unit: Sequence[Sequence[float]]) -> Stats:
    """Return the mean over units, its interval over units where there are enough, and the worst unit's mean."""
    means = [statistics.mean(values) for values in by_unit]
    share = all(isinstance(value, Share) for values in by_unit for value in values)
    rises = name.startswith((*WORST_IS_HIGH, "seconds", "relative change", "leak", "peak")) and ", relative" not in name
    return {
        **centre(means, share=share),
        "worst": round(float(max(means) if rises else min(means)), 5),
        "n": sum(len(values) for values in by_unit),
        "units": len(means),
    }


def centre(means: Sequence[float], *, share: bool) -> Stats:
    """Return the mean of units and the ends of its interval, if it has one."""
    ends = interval(means, share=share) or ()
    whole = {"mean": statistics.mean(means)} | dict(zip(("low", "high"), ends, strict=False))
    return {name: round(float(value), 5) for name, value in whole.items()}


def spread(found: Stats, form: str = ".3f") -> str:
    """Return the interval of a mean in words; nothing where it has none, being of few units.

    Example:
        >>> spread({"mean": 0.4, "low": 0.25, "high": 0.5}), spread({"mean": 0.4})
        ('0.250 to 0.500', '')
    """
    return f"{found['low']:{form}} to {found['high']:{form}}" if "low" in found else ""


def with_spread(found: Stats, form: str = ".3f") -> str:
    """Return a mean with its interval behind it, where it has one."""
    told = spread(found, form)
    return f"{found['mean']:{form}}" + (f" ({told})" if told else "")


def table(summary: Summary) -> list[str]:
    """Return the lines of a table with a row a figure."""
    lines = ["| figure | mean | 95 % | worst | n |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {s['mean']:.4f} | {spread(s, '.4f') or '-'} | {s['worst']:.4f} | {s['n']} |"
        for name, s in summary.items()
    ]
    return lines


def verdicts(rows: Sequence[Row]) -> str:
    """Count the verdicts of some runs, in words."""
    return ", ".join(f"{sum(r['verdict'] == v for r in rows)} {v}" for v in sorted({r["verdict"] for r in rows}))


def machine() -> dict[str, str | int]:
    """Return what the figures were computed on."""
    # Late: a process that only starts others stays small, and its size is the floor of what they report as theirs.
    import torch

    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text("utf-8").splitlines() if cpu.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": named[0] if named else platform.processor(),
        "cores": len(named) or 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commits_of(rows: Iterable[Row]) -> list[str]:
    """Return the commits that rows were computed at, in the order of the rows."""
    return list(dict.fromkeys(row["commit"] for row in rows))


def listed(commits: Iterable[str]) -> str:
    """Return commits as a page names them.

    Example:
        >>> listed(["f00", "bad"])
        '`f00`, `bad`'
    """
    return ", ".join(f"`{commit}`" for commit in commits) or "-"


def made(result: Mapping[str, Any]) -> str:
    """Return how and where a page was made: its command, the commit and the machine."""
    place = result["machine"]
    where = f"on {place['cores']} cores ({place['processor']}), torch {place['torch']}"
    return f"`{result['command']}` at commit `{result['commit']}`, {where}"


def origin(result: Mapping[str, Any]) -> str:
    """Return the sentence that says how and where a page was made, and at which commits its rows."""
    return f"{made(result)}; rows computed at {listed(commits_of(result['rows']))}."


def commit() -> str:
    """Return the commit of the working tree, short."""
    made = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return made.stdout.strip() or "unknown"
