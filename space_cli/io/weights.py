"""That transformers loads the shards of a folder whose headers were read: no other file, and no more than they hold.

A digest or a comparison is about the shards that `open_checkpoint` finds. Whatever makes transformers load something
else is refused before a byte of it is in memory.
"""

import re

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from space_cli.core.errors import REFETCH, ArtifactFault

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
# An unedited second copy of the weights in another format would bring the concept along.
WEIGHTS = (*PICKLES, ".safetensors", ".h5", ".msgpack", ".onnx", ".gguf")
WEIGHT_INDEXES = tuple(f"{suffix}.index.json" for suffix in WEIGHTS)
ELSEWHERE = "transformers_weights"
"""The key of a config that names the file to load in place of `model.safetensors`."""
ADAPTER = "adapter_config.json"
PARTS = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
"""Where a file is called so, transformers takes the folder for a distributed checkpoint and loads every shard in it."""


def is_weights(name: str) -> bool:
    """Tell a file of weights in any format, or the index of one, by its name."""
    return name.endswith((*WEIGHTS, *WEIGHT_INDEXES))


def refuse_diverted(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of which transformers would load other weights than those in its shards.

    Args:
        folder: The checkpoint.
        config: Its `config.json`.

    Raises:
        ArtifactFault: Its config names another file, or an adapter or the parts of a distributed checkpoint lie in it.
    """
    if config.get(ELSEWHERE) is not None:
        raise ArtifactFault(
            f"`{folder / 'config.json'}` has transformers load `{config[ELSEWHERE]}` in place of its weights: refused",
            hint=f"take `{ELSEWHERE}` out of it",
        )
    parts = sorted(path.name for path in folder.iterdir() if PARTS.fullmatch(path.name))
    if parts or (folder / ADAPTER).exists():
        name = parts[0] if parts else ADAPTER
        raise ArtifactFault(
            f"`{folder / name}` has transformers load other weights than the checkpoint's: refused",
            hint="merge them into the weights, or remove the file",
        )


def refuse_deep(folder: Path, config: Mapping[str, Any], held: int) -> None:
    """Refuse a config with more layers than the shards have parameters: building so many would fill the memory.

    Args:
        folder: The checkpoint.
        config: Its `config.json`.
        held: Parameters in its shards.

    Raises:
        ArtifactFault: It has.
    """
    for key, value in numbers(config):
        if "layers" in key and value > held:
            raise ArtifactFault(
                f"`{folder / 'config.json'}` asks for {value:,} layers (`{key}`): the shards hold {held} parameters",
                hint=REFETCH,
            )


def numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int | float]]:
    """Go through every number of a config, with the key that it or its list has."""
    waiting: list[tuple[str, Any]] = list(config.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.items()
        elif isinstance(value, list | tuple):
            waiting += [(key, each) for each in value]
        elif isinstance(value, int | float):
            yield str(key), value
