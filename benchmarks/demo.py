"""The chain on concepts that nobody tuned on, ours and the published description side by side.

    python -m benchmarks.demo

Writes `docs/benchmarks/demo.json` and `demo.md`. A finished row is kept in `demo.rows.jsonl` and not computed twice.
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.concepts import development_concepts, test_concepts
from space_cli.bundled.concepts import Drawn, find

OUT = Path("docs/benchmarks")
RELATIVE = ("retain_accuracy", "neighbour_accuracy", "kind_accuracy", "text_knowledge")
"""Scores that are reported as a share of what they were before."""
WORST_IS_HIGH = (
    "forget_accuracy",
    "forget_choice_accuracy",
    "forget_yes_rate",
    "retain_kl",
    "elicitation",
    "fluency",
)


def main() -> None:
    """Run the missing rows, then write the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--baseline-seeds", type=int, default=1, help="Seeds of space-paper")
    parser.add_argument("--concepts", nargs="*", help="Instead of the ten test concepts")
    parser.add_argument("--development", action="store_true", help="The development concepts, for tuning")
    parser.add_argument("--shard", default="0/1", help="I/N: run the missing rows of every N-th concept and stop")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    concepts = _concepts(options)
    store, seeds = options.out / "demo.rows.jsonl", {"dcsi": options.seeds, "space-paper": options.baseline_seeds}
    number, shards = (int(part) for part in options.shard.split("/"))
    rows = _rows(store, concepts[number::shards], seeds)
    if shards > 1:
        return
    command = "python -m benchmarks.demo"
    result = {
        "rows": rows,
        "summary": {method: _summary([r for r in rows if r["method"] == method]) for method in ("dcsi", "space-paper")},
        "machine": _machine(),
        "commit": _commit(),
        "command": command,
    }
    (options.out / "demo.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "demo.md").write_text(_page(result), encoding="utf-8")
    sys.stdout.write(_page(result))


def _concepts(options: argparse.Namespace) -> list[Drawn]:
    if options.concepts:
        return [concept for name in options.concepts if (concept := find(name))]
    return development_concepts() if options.development else test_concepts()


def _rows(store: Path, concepts: list[Drawn], seeds: dict[str, int]) -> list[dict[str, Any]]:
    """Compute what the store lacks, seed by seed, so that an early stop leaves whole tables."""
    rows = [json.loads(line) for line in store.read_text("utf-8").splitlines()] if store.is_file() else []
    done = {(row["method"], row["concept"], row["seed"]) for row in rows}
    wanted = [
        (method, c, seed)
        for seed in range(max(seeds.values()))
        for method in seeds
        for c in concepts
        if seed < seeds[method]
    ]
    for method, concept, seed in wanted:
        if (method, concept.name, seed) in done:
            continue
        row = _row(method, concept, seed)
        with store.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        rows.append(row)
        shown = {name: score["after"] for name, score in row["scores"].items() if name.startswith("forget")}
        sys.stderr.write(f"{method} {concept.name} seed {seed}: {row['verdict']} {shown} {row['seconds']}\n")
    chosen = {(method, c.name, seed) for method, c, seed in wanted}
    return [row for row in rows if (row["method"], row["concept"], row["seed"]) in chosen]


def _row(method: str, concept: Drawn, seed: int) -> dict[str, Any]:
    """Run `space demo` once, as a user would, in a process of its own."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        command = [
            sys.executable, "-m", "space_cli", "demo", "--concept", concept.name, "--seed", str(seed),
            "--method", method, "--workspace", str(place), "--json", "--exit-zero",
        ]  # fmt: skip
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            return _refused(method, concept, seed, made)
        told = json.loads(made.stdout)
        receipt = json.loads((place / "erased" / "space.json").read_text("utf-8"))
    return {
        "method": method,
        "concept": concept.name,
        "kind": concept.kind,
        "seed": seed,
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
        # Linux counts kilobytes; the largest child so far, so one row's figure is an upper bound of its own.
        # Seconds mean little without these two: other work on the machine, and threads of this run.
        "load_average": round(load, 2),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 3),
    }


def _refused(method: str, concept: Drawn, seed: int, made: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Keep a refusal as a row: leaving it out would flatter the table."""
    reason = " ".join(line for line in made.stderr.splitlines() if line.startswith(("error:", "hint:"))) or "no message"
    return {
        "method": method, "concept": concept.name, "kind": concept.kind, "seed": seed,
        "verdict": f"refused with exit code {made.returncode}", "reason": reason, "scores": {}, "seconds": {},
        "skipped": {}, "layers": [], "steps": 0, "stopped": "", "signals": {}, "peak_memory_gb": 0.0,
    }  # fmt: skip


def _summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name, value in _figures(row).items():
            values[name][row["concept"]].append(value)
    return {name: _figure(name, by_concept) for name, by_concept in sorted(values.items())}


def _figures(row: dict[str, Any]) -> dict[str, float]:
    """Return every number of a row by the name it has in the summary."""
    found: dict[str, float] = {}
    for name, score in row["scores"].items():
        if score["after"] is None:
            continue
        found[name] = score["after"]
        if score["before"] is not None:
            found[f"{name}, before"] = score["before"]
        if score["before"] and name in RELATIVE:
            found[f"{name}, relative"] = score["after"] / score["before"]
        if score.get("control") is not None:
            found[f"{name}, control"] = score["control"]
    found |= {f"seconds of {stage}": seconds for stage, seconds in row["seconds"].items()}
    for layer in row["layers"]:
        found[f"relative change of {layer['layer']}"] = layer["relative_change"]
    if row["layers"]:
        found["relative change, mean of layers"] = statistics.mean(one["relative_change"] for one in row["layers"])
        found["leak after rounding, largest layer"] = max(layer["leak_rounded"] for layer in row["layers"])
    found["peak memory, GB"] = row["peak_memory_gb"]
    found["steps"] = row["steps"]
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _figure(name: str, by_concept: dict[str, list[float]]) -> dict[str, float]:
    """Return the mean over concepts with a bootstrap interval over concepts, and the worst concept's mean."""
    means = np.array([statistics.mean(values) for values in by_concept.values()])
    draws = np.random.default_rng(0).choice(means, (10_000, len(means))).mean(1)
    low, high = np.quantile(draws, (0.025, 0.975))
    rises = name.startswith((*WORST_IS_HIGH, "seconds", "relative change", "leak", "peak")) and ", relative" not in name
    return {
        "mean": round(float(means.mean()), 5),
        "low": round(float(low), 5),
        "high": round(float(high), 5),
        "worst": round(float(means.max() if rises else means.min()), 5),
        "n": sum(len(values) for values in by_concept.values()),
    }


def _page(result: dict[str, Any]) -> str:
    lines = [
        "# The chain on ten test concepts",
        "",
        f"`{result['command']}` at commit `{result['commit']}`, on {result['machine']['cores']} cores "
        f"({result['machine']['processor']}), torch {result['machine']['torch']}.",
        "",
        "Unseen renderings of concepts that no setting was chosen on (`benchmarks/concepts.py`). Mean over concepts "
        "with a 95 % bootstrap interval over concepts; `worst` is the worst concept's mean over its seeds.",
    ]
    for method, summary in result["summary"].items():
        if not summary:
            continue
        rows = [row for row in result["rows"] if row["method"] == method]
        verdicts = ", ".join(
            f"{sum(r['verdict'] == v for r in rows)} {v}" for v in sorted({r["verdict"] for r in rows})
        )
        lines += [
            "",
            f"## {method}",
            "",
            f"{len(rows)} runs: {verdicts}.",
            "",
            "| figure | mean | 95 % | worst | n |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {s['mean']:.4f} | {s['low']:.4f} to {s['high']:.4f} | {s['worst']:.4f} | {s['n']} |"
            for name, s in summary.items()
        ]
    return "\n".join(lines) + "\n"


def _machine() -> dict[str, str | int]:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text("utf-8").splitlines() if cpu.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": named[0] if named else platform.processor(),
        "cores": len(named) or 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _commit() -> str:
    made = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return made.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
