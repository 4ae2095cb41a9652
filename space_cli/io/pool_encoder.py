"""The encoder that indexed a pool, opened only where it still is that one."""

from space_cli.core import registry
from space_cli.core.errors import ArtifactFault
from space_cli.core.protocols import Encoder
from space_cli.core.records import PoolManifest
from space_cli.io.artifact import source_of
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.hub import resolve


def open_encoder(pool: PoolManifest, device: str) -> Encoder:
    """Load the encoder of a pool: text and images compare only in the space of the one that embedded the images.

    Args:
        pool: The pool's record.
        device: `cpu` or a device that torch knows.

    Raises:
        ArtifactFault: It was changed since, or a hub id stands for another revision now, or it is of no known type.
        NetworkFault: It is on the hub, and the hub cannot be reached.
    """
    folder = resolve(pool.request.encoder, pool.request.revision)
    found = source_of(folder, "encoder").sha256
    if found != pool.encoder_sha256:
        raise ArtifactFault(
            f"the encoder `{pool.request.encoder}` is not the one that indexed the pool: expected "
            f"{pool.encoder_sha256[:12]}…, found {found[:12]}…",
            hint="put that one back, or index the pool again with `--overwrite`; `--revision` pins a hub id",
        )
    encoder: Encoder = registry.load("encoders", open_checkpoint(folder).model_type).load(folder, device)
    return encoder
