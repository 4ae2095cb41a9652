"""`space demo` on one device, as a user would run it, in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time

from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import Row

KEPT = ("verdict", "scores", "seconds")


def demo(device: str, concept: str, seed: int, settings: Sequence[str] = ()) -> Row:
    """Run the demo and return its summary with its costs; where it failed, the exit code and what it said.

    Args:
        device: As `--device` takes it.
        concept: What the bundled checkpoint is to forget.
        seed: Of everything.
        settings: Options of the method, `NAME=VALUE`.
    """
    chosen = [part for setting in settings for part in ("--set", setting)]
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable, "-m", "space_cli", "demo", "--concept", concept, "--seed", str(seed), "--device", device,
            "--workspace", f"{place}/run", "--json", "--exit-zero", *chosen,
        ]  # fmt: skip
        told, said = Path(place, "told"), Path(place, "said")
        started = time.perf_counter()
        with told.open("wb") as out, said.open("wb") as errors:
            process = subprocess.Popen(command, stdout=out, stderr=errors)
            # The figure of this child alone; that of all children would keep the largest so far.
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        costs = {
            "wall_seconds": round(time.perf_counter() - started, 1),
            "peak_resident_gb": round(usage.ru_maxrss / 1e6, 2),  # Linux counts kilobytes
        }
        if process.returncode:
            ending = said.read_text("utf-8", errors="replace").strip().splitlines()[-3:]
            return {"finished": False, "exit_code": process.returncode, "message": " ".join(ending), **costs}
        summary = json.loads(told.read_text("utf-8"))
    return {"finished": True, **{name: summary[name] for name in KEPT}, **costs}


def ratios(rows: dict[str, Row]) -> dict[str, float]:
    """Return how many times longer each stage takes on the CPU; nothing where one of the two has not finished."""
    there = [row for row in rows.values() if row["finished"]]
    if len(there) < 2:
        return {}
    slow, fast = (next(row for name, row in rows.items() if (name == "cpu") is wanted) for wanted in (True, False))
    return {
        stage: round(slow["seconds"][stage] / fast["seconds"][stage], 2)
        for stage in fast["seconds"]
        if fast["seconds"][stage] and stage in slow["seconds"]
    }
