"""Which device a request means."""

import torch

from space_cli.core.errors import EnvironmentFault


def pick_device(device: str) -> str:
    """Return the device "auto" stands for, checking a named one.

    Raises:
        EnvironmentFault: CUDA is asked for and absent.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EnvironmentFault("no CUDA device was found", hint="pass `--device cpu`, or see `space doctor`")
    return device
