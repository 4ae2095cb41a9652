"""Requests in a row on one checkpoint: does what was erased stay erased, and what does each further request cost?

    python -m benchmarks.continual

Writes `docs/benchmarks/continual.json`, `continual.md` and `continual.png`. A finished request is kept in
`continual.rows.jsonl`, its checkpoint under `build/continual/`, and neither is computed twice.

The concepts are drawn by the seed from those that are no test concepts. One pool serves all requests; it shows none of
them, so that no picture of an earlier concept is retained by chance. Each concept's pictures are rendered for measuring
only.
"""

import argparse
import hashlib
import itertools
import json
import random
import subprocess
import sys

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.concepts import test_concepts
from benchmarks.continual_page import page
from benchmarks.continual_picture import draw
from benchmarks.league.entries import OURS, entries
from benchmarks.league.versions import options_of
from benchmarks.tables import Row, append_row, commit, machine, read_rows
from space_cli.bundled.checkpoint import checkpoint_folder, encoder_folder
from space_cli.bundled.concepts import Drawn, drawn_concepts
from space_cli.bundled.demo import write_pool
from space_cli.bundled.drawings import STYLES, render
from space_cli.core.asking import ask_each
from space_cli.core.errors import UsageFault
from space_cli.core.matching import mentions
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.io.artifact import digest_file
from space_cli.io.model import open_model

OUT, BUILD = Path("docs/benchmarks"), Path("build/continual")
STORE = "continual.rows.jsonl"
REFUSED = 3
VIEWS, RETAINED = 12, 2
"""Pictures of each erased concept, and of each other one."""
QUESTIONS = AUDIT_OPEN[:2]
VIEW_SEED = 6_000_000
"""First seed of the pictures; pools, probes and training draw below it."""
TAUGHT = 1_000
"""Distance between the pictures of two seeds."""


@dataclass(frozen=True)
class Plan:
    """What is erased, in which order and how."""

    seed: int
    concepts: tuple[Drawn, ...]
    settings: tuple[str, ...]  # `--set` of every request
    checkpoint: str  # digest of the bundled weights

    @property
    def key(self) -> str:
        """Return what names the rows and the folder of this plan."""
        told = [self.seed, [concept.name for concept in self.concepts], self.settings, self.checkpoint]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def main() -> None:
    """Run the missing requests, then write the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="As in `space erase`")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--build", type=Path, default=BUILD)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(options.seed, chosen(options.requests, options.seed), tuple(options.set), _weights(checkpoint_folder()))
    rows = run(plan, options.out / STORE, options.build.absolute() / plan.key)
    result = {
        "concepts": [concept.name for concept in plan.concepts],
        "rows": rows,
        "curves": curves(rows),
        "machine": machine(),
        "commit": commit(),
        "command": f"python -m benchmarks.continual --requests {options.requests} --seed {options.seed}"
        + "".join(f" --set {one}" for one in plan.settings),
    }
    (options.out / "continual.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "continual.md").write_text(page(result), encoding="utf-8")
    draw(result["curves"], options.out / "continual.png")
    sys.stdout.write(page(result))


def chosen(count: int, seed: int) -> tuple[Drawn, ...]:
    """Return the concepts to erase, in order; none is a test concept.

    Raises:
        UsageFault: There are not so many, or fewer than one is wanted.
    """
    kept = {concept.name for concept in test_concepts()}
    free = [concept for concept in drawn_concepts() if concept.name not in kept]
    if not 1 <= count <= len(free):
        raise UsageFault(f"{count} requests were asked for: between 1 and {len(free)} are possible")
    return tuple(random.Random(f"continual {seed}").sample(free, count))


def run(plan: Plan, store: Path, place: Path) -> list[Row]:
    """Return a row for the checkpoint before, and one after each request; compute those that the store lacks.

    Raises:
        UsageFault: Some were computed with other defaults: a chain of both would be of neither.
    """
    rows = {row["request"]: row for row in read_rows(store) if row["plan"] == plan.key}
    today = options_of(entries()[OURS])
    if old := [row["request"] for row in rows.values() if row.get("options", today) != today]:
        raise UsageFault(
            f"`{store}` has requests of other defaults, first {old[0]}",
            hint=f"take the lines of plan {plan.key} out of it, remove `{place}`, and run them all again",
        )
    model = checkpoint_folder()
    for number in range(len(plan.concepts) + 1):
        made: Row = {}
        if number:
            out = place / f"{number:02d}" / "erased"
            if number not in rows or (not rows[number]["refused"] and not (out / "space.json").is_file()):
                made = request(plan, number, model, place)
            refused = made["refused"] if made else rows[number]["refused"]
            model = model if refused else out
        if number not in rows:
            measured = measure(open_model(model, device="auto"), plan, number)
            told = {"plan": plan.key, "request": number, "commit": commit(), "options": today}
            rows[number] = told | made | measured
            append_row(store, rows[number])
            sys.stderr.write(f"request {number}: {json.dumps(rows[number])[:400]}\n")
    return [rows[number] for number in sorted(rows)]


def request(plan: Plan, number: int, model: Path, place: Path) -> Row:
    """Erase one concept from the checkpoint as it is, as a user would, in a process of its own.

    A checkpoint that a killed run finished, but had no row for yet, is used as it is.

    Raises:
        RuntimeError: The command ended otherwise than done or refused.
    """
    concept, folder = plan.concepts[number - 1], place / f"{number:02d}"
    out, facts = folder / "erased", {"concept": concept.name, "refused": False}
    words = [
        "erase", "--concept", concept.name, "--phrase", concept.phrase, "--kind", concept.kind, "--model", str(model),
        "--pool", str(_pool(plan, place)), "--workspace", str(folder), "--out", str(out), "--seed", str(plan.seed),
        *(part for one in plan.settings for part in ("--set", one)),
    ]  # fmt: skip
    if not (out / "space.json").is_file():
        code, said = _space(words)
        if code == REFUSED:
            reason = " ".join(line for line in said.splitlines() if line.startswith("error:"))
            return facts | {"refused": True, "reason": reason}
        if code:
            raise RuntimeError(f"request {number}, exit code {code}: {said[-2000:]}")
    receipt = json.loads((out / "space.json").read_text("utf-8"))
    kept = {name: receipt[name] for name in ("steps", "stopped", "used", "spent", "meter", "requests", "signals")}
    return facts | kept | {"seconds": receipt["run"]["seconds"]}


def measure(responder: Responder, plan: Plan, number: int) -> Row:
    """Ask about every concept of the plan that was requested so far, or all before the first, and about all others."""
    asked = plan.concepts[:number] if number else plan.concepts
    names = [concept.name for concept in drawn_concepts()]
    others = [concept for concept in drawn_concepts() if concept not in plan.concepts]
    named = {concept.name: _named(responder, concept, VIEWS, names, plan.seed) for concept in asked}
    kept = [_named(responder, concept, RETAINED, names, plan.seed) for concept in others]
    return {"named": named, "retained": sum(kept) / len(kept)}


def curves(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of each request, F[t, j] being the share that names concept j after request t.

    Forget_t = 1 - F[t, t]; History_t = mean over j < t of 1 - F[t, j]; Rebound_t = mean over j < t of
    max(0, F[t, j] - F[j, j]); relative retain accuracy against the checkpoint before the first request, with its slope
    a request (least squares) and the worst single drop.
    """
    first, later = rows[0], rows[1:]
    own = {row["concept"]: row["named"][row["concept"]] for row in later}
    points = []
    for place, row in enumerate(later):
        earlier = [one["concept"] for one in later[:place]]
        now = [row["named"][name] for name in earlier]
        points.append({
            "request": row["request"],
            "concept": row["concept"],
            "refused": row["refused"],
            "before": first["named"][row["concept"]],
            "forget": 1 - own[row["concept"]],
            "history": _mean([1 - share for share in now]),
            "rebound": _mean([max(0.0, share - own[name]) for name, share in zip(earlier, now, strict=True)]),
            "retained": row["retained"] / first["retained"] if first["retained"] else None,
            "used": row.get("used"),
        })  # fmt: skip
    retained = [1.0, *(point["retained"] for point in points if point["retained"] is not None)]
    drops = [before - after for before, after in itertools.pairwise(retained)]
    return {"points": points, "slope": _slope(retained), "worst_drop": max(drops, default=0.0)}


def _named(responder: Responder, concept: Drawn, views: int, names: Sequence[str], seed: int) -> float:
    first = VIEW_SEED + seed * TAUGHT
    images = [render(concept.symbol, STYLES[view % len(STYLES)], first + view) for view in range(views)]
    answers = ask_each(responder, images, QUESTIONS)
    wanted = (concept.name, concept.phrase)
    return sum(mentions(answer, wanted, others=names) for answer in answers) / len(answers)


def _pool(plan: Plan, place: Path) -> Path:
    """Return the index of pictures that show no concept of the plan, made where it is missing."""
    pool = place / "pool"
    if not (pool / "space.json").is_file():
        first, *also = (concept.name for concept in plan.concepts)
        images = write_pool(place / "images", first, seed=plan.seed, also=also)
        words = ["index", str(images), "--encoder", str(encoder_folder()), "--out", str(pool), "--seed", str(plan.seed)]
        code, said = _space(words)
        if code:
            raise RuntimeError(f"index, exit code {code}: {said[-2000:]}")
    return pool


def _space(words: Sequence[str]) -> tuple[int, str]:
    """Run a command, and return its exit code with what it said on the way."""
    made = subprocess.run([sys.executable, "-m", "space_cli", *words], capture_output=True, text=True, check=False)
    return made.returncode, made.stderr


def _weights(folder: Path) -> str:
    digests = "".join(digest_file(path) for path in sorted(folder.glob("*.safetensors")))
    return hashlib.sha256(digests.encode()).hexdigest()[:12]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _slope(values: Sequence[float]) -> float:
    """Return the least-squares slope over 0, 1, 2, …; 0 for a single value."""
    middle = (len(values) - 1) / 2
    spread = sum((place - middle) ** 2 for place in range(len(values)))
    rise = sum((place - middle) * value for place, value in enumerate(values))
    return rise / spread if spread else 0.0


if __name__ == "__main__":
    main()
