"""What a run keeps while it works: a state to continue from, and one row of figures a step."""

import json

from pathlib import Path
from typing import ClassVar

import torch

from safetensors import SafetensorError
from safetensors.torch import load_file

from space_cli.core.context import Saved
from space_cli.io.shards import save_tensors


class StateStore:
    """A method's state in one file that is whole or absent."""

    kept: ClassVar[bool] = False
    """Whether there is one by now, of whichever erasure of this process: before the first, a killed run begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, state: Saved) -> None:
        """Replace the stored state.

        Raises:
            OSError: The disk refuses the write.
        """
        draft = self._path.with_name(self._path.name + ".tmp")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
        save_tensors(tensors | {"step": torch.tensor(state.step)}, draft)
        draft.replace(self._path)
        StateStore.kept = True

    def load(self) -> Saved | None:
        """Return the stored state, or None where a run was killed before its first."""
        if not self._path.is_file():
            return None
        try:
            tensors = load_file(self._path)
        except SafetensorError:
            return None
        StateStore.kept = True
        return Saved(int(tensors.pop("step")), tensors)


class MetricsLog:
    """`metrics.jsonl`: one JSON object a step.

    Args:
        path: The file.
        keep: Rows of later steps, left by a killed run that saved its state before them, are dropped.
    """

    def __init__(self, path: Path, *, keep: int) -> None:
        self._path = path
        rows = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        path.write_bytes(b"".join(row for row in rows if _is_kept(row, keep)))

    def append(self, row: dict[str, float]) -> None:
        """Write one row through to the file."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({name: round(value, 6) for name, value in row.items()}) + "\n")


def _is_kept(row: bytes, keep: int) -> bool:
    """Tell a whole row of a step that counts from one that a kill, or a machine that went down, left broken."""
    try:
        return row.endswith(b"\n") and bool(json.loads(row)["step"] <= keep)
    except (ValueError, LookupError, TypeError):
        return False
