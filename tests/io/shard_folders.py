"""Tiny checkpoint folders, built by hand."""

import json

from pathlib import Path

import torch

from safetensors.torch import save_file

INDEX = "model.safetensors.index.json"
FIRST, SECOND, THIRD = (f"model-0000{part}-of-00003.safetensors" for part in (1, 2, 3))
EDITED = "layers.0.down.weight"


def sharded(folder: Path, dtype: torch.dtype = torch.float16, seed: int = 0) -> Path:
    """Three shards; the second holds the parameter that tests edit, the third has no plain weights."""
    make = torch.Generator().manual_seed(seed)
    tensors = {
        FIRST: {"embed.weight": torch.randn(12, 8, generator=make).to(dtype), "scale": torch.tensor(2.0)},
        SECOND: {
            EDITED: torch.randn(6, 8, generator=make).to(dtype),
            "layers.0.up.weight": torch.randn(8, 6, generator=make).to(dtype),
        },
        THIRD: {"ids": torch.arange(5), "codes": torch.arange(8, dtype=torch.int8).reshape(2, 4)},
    }
    folder.mkdir(parents=True)
    for name, content in tensors.items():
        save_file(content, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)
    places = {key: name for name, content in tensors.items() for key in content}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    (folder / "config.json").write_text('{"model_type": "llava"}')
    return folder


def single(folder: Path) -> Path:
    folder.mkdir()
    save_file({"weight": torch.ones(4, 4)}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text('{"model_type": "llava"}')
    return folder


def tiny_delta() -> torch.Tensor:
    return torch.linspace(-1, 1, 48).reshape(6, 8)
