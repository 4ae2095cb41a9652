"""The state of a run is whole or absent, on a full disk too."""

import errno

import pytest
import safetensors
import torch

from space_cli.core.context import Saved
from space_cli.core.errors import EnvironmentFault
from space_cli.io import shards
from space_cli.io.state import MetricsLog, StateStore
from space_cli.io.storage import storage_faults


def test_what_was_saved_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(StateStore, "kept", False)
    store = StateStore(tmp_path / "state.safetensors")
    assert store.load() is None
    assert not StateStore.kept
    for step in (3, 4):
        store.save(Saved(step, {"a": torch.full((2, 2), float(step))}))
    found = store.load()
    assert StateStore.kept
    assert (found.step, found.tensors["a"].tolist()) == (4, [[4.0, 4.0], [4.0, 4.0]])


def test_a_full_disk_keeps_the_state_before(tmp_path, monkeypatch):
    store = StateStore(tmp_path / "state.safetensors")
    store.save(Saved(3, {"a": torch.ones(2)}))

    def full(*_, **__):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(shards, "save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        store.save(Saved(4, {"a": torch.ones(2)}))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(EnvironmentFault, match="is full"), storage_faults(tmp_path):
        store.save(Saved(4, {"a": torch.ones(2)}))
    assert store.load().step == 3


@pytest.mark.parametrize("torn", [b'{"step": 3', b"\x00\x00\n", b"\xff\n", b"{}\n", b"3\n", b'{"step": "3"}\n'])
def test_rows_that_a_kill_left_broken_or_too_late_are_dropped(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + torn)
    MetricsLog(path, keep=1).append({"step": 2, "loss": 0.5})
    assert path.read_text() == '{"step": 1}\n{"step": 2, "loss": 0.5}\n'
