"""Seconds and peak memory of a block of work, and what it ran on."""

import subprocess
import threading
import time

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from benchmarks.tables import machine

LOOK = 0.05
"""Seconds between two readings of the process's memory."""


@dataclass
class Cost:
    """What a block of work took."""

    seconds: float = 0.0
    device_gb: float | None = None  # most that torch had given out at once, in 1e9 bytes; None on a CPU
    resident_gb: float = 0.0  # most of the process in RAM, mapped files among it, 1e9 bytes

    def row(self) -> dict[str, float | None]:
        """Return the figures as they are stored."""
        held = None if self.device_gb is None else round(self.device_gb, 2)
        return {
            "seconds": round(self.seconds, 2),
            "peak_device_gb": held,
            "peak_resident_gb": round(self.resident_gb, 2),
        }


@contextmanager
def measured(device: str) -> Generator[Cost]:
    """Measure a block; its cost is filled in at its end, also where it fails."""
    cost, done = Cost(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(cost, done), daemon=True)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    watcher.start()
    started = time.perf_counter()
    try:
        yield cost
    finally:
        if on_gpu:
            torch.cuda.synchronize()
            cost.device_gb = torch.cuda.max_memory_allocated() / 1e9
        cost.seconds = time.perf_counter() - started
        done.set()
        watcher.join()


def facts(device: str) -> dict[str, str | int | float]:
    """Return what the figures were measured on."""
    import faiss
    import transformers

    told: dict[str, str | int | float] = {
        **machine(),
        "ram_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "threads": torch.get_num_threads(),
        "transformers": transformers.__version__,
        "faiss_gpus": faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0,
        "device": "cpu",
    }
    if device.startswith("cuda"):
        named = torch.cuda.get_device_properties(0)
        told |= {"device": named.name, "device_gb": round(named.total_memory / 1e9, 1)}
        told |= {"cuda": str(torch.version.cuda), "driver": _driver()}
    return told


def _driver() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        made = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return (made.stdout.strip().splitlines() or ["unknown"])[0]


def _watch(cost: Cost, done: threading.Event) -> None:
    process = psutil.Process()
    while True:
        cost.resident_gb = max(cost.resident_gb, process.memory_info().rss / 1e9)
        if done.wait(LOOK):
            return
