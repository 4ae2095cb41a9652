"""The chain on concepts that nobody tuned on, ours and the published description side by side.

    python -m benchmarks.demo

Writes `docs/benchmarks/demo.json` and `demo.md`. A finished row is kept in `demo.rows.jsonl` and not computed twice.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile

from pathlib import Path
from typing import Any

from benchmarks.concepts import development_concepts, test_concepts
from benchmarks.league.entries import entries
from benchmarks.league.versions import options_of
from benchmarks.tables import (
    Row,
    append_row,
    commit,
    machine,
    outcome,
    read_rows,
    refusal,
    shard_of,
    summarise,
    table,
    verdicts,
)
from benchmarks.weights import digest_of
from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.bundled.concepts import Drawn, find

OUT = Path("docs/benchmarks")
REFUSED = 3
"""Exit code of a gate."""


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
    number, shards = shard_of(options.shard)
    rows = _rows(store, concepts[number::shards], seeds)
    if shards > 1:
        return
    result = {
        "rows": rows,
        "summary": {
            method: summarise(r for r in rows if r["method"] == method and r["scores"])
            for method in ("dcsi", "space-paper")
        },
        "machine": machine(),
        "commit": commit(),
        "command": "python -m benchmarks.demo",
    }
    (options.out / "demo.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "demo.md").write_text(_page(result), encoding="utf-8")
    sys.stdout.write(_page(result))


def _concepts(options: argparse.Namespace) -> list[Drawn]:
    if options.concepts:
        return [concept for name in options.concepts if (concept := find(name))]
    return development_concepts() if options.development else test_concepts()


def _rows(store: Path, concepts: list[Drawn], seeds: dict[str, int]) -> list[Row]:
    """Compute what the store lacks, seed by seed, so that an early stop leaves whole tables.

    Rows of other weights or defaults do not count, where they tell; of two of one cell the later one does.
    """
    made = {method: _made_of(method) for method in seeds}
    rows = {_cell(row): row for row in read_rows(store) if _counts(row, made.get(row["method"], {}))}
    wanted = [
        (method, c, seed)
        for seed in range(max(seeds.values()))
        for method in seeds
        for c in concepts
        if seed < seeds[method]
    ]
    for method, concept, seed in wanted:
        if (method, concept.name, seed) in rows:
            continue
        row = _row(method, concept, seed) | made[method]
        append_row(store, row)
        rows[_cell(row)] = row
        shown = {name: score["after"] for name, score in row["scores"].items() if name.startswith("forget")}
        sys.stderr.write(f"{method} {concept.name} seed {seed}: {row['verdict']} {shown} {row['seconds']}\n")
    chosen = {(method, c.name, seed) for method, c, seed in wanted}
    return [row for cell, row in rows.items() if cell in chosen]


def _made_of(method: str) -> Row:
    """Return what a row keeps of what it was made of: the weights and every option of the method."""
    return {"checkpoint": digest_of(checkpoint_folder()), "options": options_of(entries()[method])}


def _counts(row: Row, made: Row) -> bool:
    return all(row.get(name, value) == value for name, value in made.items())


def _cell(row: Row) -> tuple[str, str, int]:
    return row["method"], row["concept"], row["seed"]


def _row(method: str, concept: Drawn, seed: int) -> Row:
    """Run `space demo` once, as a user would, in a process of its own."""
    load = os.getloadavg()[0]
    named = {"method": method, "concept": concept.name, "kind": concept.kind, "seed": seed}
    named |= {"commit": commit(), "processor": machine()["processor"]}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        command = [
            sys.executable, "-m", "space_cli", "demo", "--concept", concept.name, "--seed", str(seed),
            "--method", method, "--workspace", str(place), "--json", "--exit-zero",
        ]  # fmt: skip
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode == REFUSED:
            return named | refusal(made.returncode, made.stderr)
        if made.returncode:
            # A killed or broken run says nothing about the method.
            sys.exit(f"`{' '.join(command)}` ended with {made.returncode}:\n{made.stderr}")
        told = json.loads(made.stdout)
        receipt = json.loads((place / "erased" / "space.json").read_text("utf-8"))
    return {
        **named,
        **outcome(told, receipt),
        # Linux counts kilobytes; the largest child so far, so one row's figure is an upper bound of its own.
        # Seconds mean little without these two: other work on the machine, and threads of this run.
        "load_average": round(load, 2),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 3),
    }


def _page(result: dict[str, Any]) -> str:
    lines = [
        "# The chain on ten test concepts",
        "",
        f"`{result['command']}` on {result['machine']['cores']} cores, torch {result['machine']['torch']}.",
        "",
        "Unseen renderings of concepts that no setting was chosen on (`benchmarks/concepts.py`). Mean over concepts "
        "with a 95 % interval over concepts; `worst` is the worst concept's mean over its seeds.",
    ]
    for method, summary in result["summary"].items():
        if not summary:
            continue
        rows = [row for row in result["rows"] if row["method"] == method]
        made = ", ".join(sorted({f"commit `{row['commit']}` on {row['processor']}" for row in rows}))
        gone = sum(not row["scores"] for row in rows)
        over = f" Means are over the {len(rows) - gone} runs that were not refused." if gone else ""
        lines += ["", f"## {method}", "", f"{len(rows)} runs: {verdicts(rows)}. {made}.{over}", "", *table(summary)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
