"""Which parameters an erasure would change, and whether it can, asked of a checkpoint's headers before any work."""

from space_cli.core.errors import ArtifactFault
from space_cli.core.family import Family
from space_cli.io.checkpoint import Checkpoint

PLAIN = ("F16", "BF16", "F32")
"""Dtypes that an edit can be added to, as safetensors spells them."""


def editable_parameters(checkpoint: Checkpoint, family: Family, scope: str) -> dict[str, str]:
    """Return the parameter that each layer of a scope has in the files.

    Args:
        checkpoint: The base.
        family: Its family.
        scope: As in a request.

    Raises:
        ArtifactFault: One is not there, no matrix, or stored in a dtype that holds no plain weights.
    """
    found = {layer: family.parameter(layer, checkpoint.parameters) for layer in family.layers(scope)}
    for name in found.values():
        info = checkpoint.parameters[name]
        if len(info.shape) != 2:
            raise ArtifactFault(
                f"`{name}` of `{checkpoint.folder}` has the shape {list(info.shape)}: no matrix",
                hint="erase from the checkpoint as it was published",
            )
        if info.dtype not in PLAIN:
            raise ArtifactFault(
                f"`{name}` of `{checkpoint.folder}` is stored as {info.dtype}: float16, bfloat16 or float32 is needed",
                hint="erase from the checkpoint as it was before quantisation",
            )
    return found
