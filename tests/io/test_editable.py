"""What an erasure cannot edit is refused from headers alone, before hours of work on it."""

import json

import pytest
import torch

from safetensors.torch import save_file

from space_cli.cli import chain
from space_cli.core.errors import ArtifactFault

NAMES = [
    "multi_modal_projector.linear_2.weight",
    *(f"language_model.model.layers.0.mlp.{part}_proj.weight" for part in ("gate", "up", "down")),
]
CONFIG = {"model_type": "llava", "vision_config": {}, "text_config": {"num_hidden_layers": 1}}


def headers(folder, **changed):
    folder.mkdir()
    weights = {name: torch.zeros(2, 2) for name in NAMES}
    weights |= {name: changed[part] for name in NAMES for part in changed if part in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return str(folder)


def test_plain_matrices_can_be_edited(tmp_path):
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        folder = headers(tmp_path / str(dtype), up=torch.zeros(2, 2, dtype=dtype))
        assert chain.check_model(folder, None, "mlp") == tmp_path / str(dtype)


@pytest.mark.parametrize(
    ("weight", "found"),
    [
        (torch.zeros(2, 2, dtype=torch.int8), "is stored as I8"),
        (torch.zeros(2, 2, dtype=torch.float8_e4m3fn), "is stored as F8_E4M3"),
        (torch.zeros(2, 2, dtype=torch.float64), "is stored as F64"),
        (torch.zeros(4), "no matrix"),
    ],
)
def test_others_are_refused_from_their_headers(tmp_path, weight, found):
    folder = headers(tmp_path / "base", up=weight)
    with pytest.raises(ArtifactFault, match=rf"layers\.0\.mlp\.up_proj\.weight` .*{found}"):
        chain.check_model(folder, None, "mlp")
    assert chain.check_model(headers(tmp_path / "other"), None, "blocks")
    with pytest.raises(ArtifactFault, match=r"stores no weight for .*linear_1"):
        chain.check_model(str(tmp_path / "other"), None, "all")
