"""What one GPU gives: the demo on it beside the CPU, and the chain's costs at the shape of LLaVA-1.5-7B.

python -m benchmarks.gpu
python -m benchmarks.gpu --part bundled
python -m benchmarks.gpu --part shape
python -m benchmarks.gpu --shape tiny --device cpu --part shape        seconds, kept in build/

Writes `docs/benchmarks/gpu.json` after each step and `gpu.md` beside it. A rerun on the same device continues with what
is missing.
"""

import argparse
import json
import sys
import time

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.gpu import bundled, large
from benchmarks.gpu.measuring import facts
from benchmarks.gpu.page import page
from benchmarks.gpu.shapes import SHAPES
from benchmarks.tables import Row, commit
from space_cli.core.errors import SpaceError
from space_cli.io.devices import pick_device

OUT, BUILD = Path("docs/benchmarks"), Path("build/gpu")
PUBLISHED = "llava-1.5-7b"
PARTS = {"bundled": ("bundled", "bundled_ratio"), "shape": ("shape_steps",)}
"""What is measured, with the tables it fills."""
CONCEPT = "panda"


class Results:
    """`gpu.json`, written anew whenever something is known.

    Args:
        folder: Where it is.
        head: Of this run: command, commit, machine, shape.
        parts: What this run measures. What it does not measure stays, under the head of its own run.
    """

    def __init__(self, folder: Path, head: Row, parts: Iterable[str] = PARTS) -> None:
        self._path, self._page, self._head = folder / "gpu.json", folder / "gpu.md", head
        folder.mkdir(parents=True, exist_ok=True)
        self.found: Row = {**head, "heads": {}, **{table: {} for tables in PARTS.values() for table in tables}}
        if self._path.is_file():
            old = json.loads(self._path.read_text("utf-8"))
            for part, tables in PARTS.items():
                # Before each part had a head of its own, all were of one run.
                own = old.get("heads", {}).get(part) or {key: old[key] for key in head}
                # Figures of another device, shape or commit do not belong beside this run's.
                if old[tables[0]] and (part not in parts or _origin(own) == _origin(head)):
                    self.found |= {table: old[table] for table in tables}
                    self.found["heads"][part] = own

    def lacks(self, table: str, name: str) -> bool:
        """Tell whether something was not measured to its end."""
        return not self.found[table].get(name, {"finished": False}).get("finished", True)

    def keep(self, table: str, name: str, row: Row) -> None:
        """Store a row, and say it."""
        self.found[table][name] = row
        self.found["heads"][next(part for part, tables in PARTS.items() if table in tables)] = self._head
        if table == "bundled":
            self.found["bundled_ratio"] = bundled.ratios(self.found["bundled"])
        self.write()
        shown = {key: value for key, value in row.items() if not isinstance(value, dict)}
        sys.stderr.write(f"{table} {name}: {json.dumps(shown)}\n")

    def write(self) -> None:
        """Write both files."""
        draft = self._path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        draft.replace(self._path)
        self._page.write_text(page(self.found), encoding="utf-8")


def _origin(found: Row) -> list[str]:
    return [found["shape"], found["commit"], found["machine"]["device"], found["machine"]["torch"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing; 1 where something did not come to its end."""
    started = time.monotonic()
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    try:
        return _run(options, " ".join(("python -m benchmarks.gpu", *words)), started)
    except SpaceError as fault:
        sys.stderr.write(f"error: {fault.message}\n" + (f"hint: {fault.hint}\n" if fault.hint else ""))
        return fault.exit_code


def _run(options: argparse.Namespace, command: str, started: float) -> int:
    device = pick_device(options.device)
    head = {
        "command": command,
        "commit": options.commit or commit(),
        "machine": facts(device),
        "shape": options.shape,
    }
    published = options.shape == PUBLISHED and device.startswith("cuda")
    results = Results(options.out or (OUT if published else BUILD / options.shape), head, options.part)
    if "bundled" in options.part:
        _bundled(results, device, options.settings)
    if "shape" in options.part:
        work = options.work or BUILD / "work" / options.shape
        _shape(results, large.Bench(SHAPES[options.shape], device, work, options.steps, started + options.seconds))
    asked = [(part, name) for part, name in _names(device) if part.removesuffix("_steps") in options.part]
    return int(any(results.lacks(part, name) for part, name in asked))


def _names(device: str) -> list[tuple[str, str]]:
    devices = dict.fromkeys((device, "cpu"))
    return [*(("bundled", name) for name in devices), *(("shape_steps", name) for name in large.STEPS)]


def _bundled(results: Results, device: str, settings: Sequence[str]) -> None:
    for name in dict.fromkeys((device, "cpu")):
        if results.lacks("bundled", name):
            results.keep("bundled", name, bundled.demo(name, CONCEPT, 0, settings))


def _shape(results: Results, bench: large.Bench) -> None:
    part = "shape_steps"
    if results.lacks(part, "build") or not large.built(bench):
        results.keep(part, "build", large.build(bench))
    if results.lacks(part, "index") or not large.indexed(bench):
        results.keep(part, "index", large.index_pool(bench))
    if results.lacks(part, "write"):
        results.keep(part, "write", large.write(bench))
    if results.lacks(part, "erase"):
        # Nothing of these two is on disk, so an erasure that did not end begins with them again.
        context, row = large.open_all(bench)
        results.keep(part, "subject", row)
        found, row = large.bases(context, bench.device)
        results.keep(part, "basis", row)
        results.keep(part, "erase", large.erase(bench, context, found, lambda row: results.keep(part, "erase", row)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="The chain on one GPU")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--shape", choices=sorted(SHAPES), default=PUBLISHED, help="`tiny` is for trying the script")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=100, help="Training steps of the shape's erasure")
    parser.add_argument("--seconds", type=float, default=540, help="Stop the erasure between two steps after so long")
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="NAME=VALUE", help="Option of the demo's method"
    )
    parser.add_argument("--commit", help="Where the copy has no git history")
    parser.add_argument("--work", type=Path, help=f"For 30 GB of checkpoints; under {BUILD} if not given")
    parser.add_argument("--out", type=Path, help=f"{OUT} for the published shape on a GPU, else under {BUILD}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
