"""An erased checkpoint as an audit takes it: what its record says, and no more that a loader might read."""

from pathlib import Path

from space_cli.core.errors import ArtifactFault
from space_cli.core.records import ErasureReceipt
from space_cli.io.artifact import open_artifact
from space_cli.io.chat_template import refuse_other_changes
from space_cli.io.checkpoint import INDEX, SINGLE, Checkpoint, open_checkpoint
from space_cli.io.weights import is_weights


def open_erased(folder: Path, *, verify: bool = True) -> ErasureReceipt:
    """Read the receipt of an erased checkpoint.

    Args:
        folder: The checkpoint.
        verify: Compare every file with its digest, and refuse files that were added.

    Raises:
        ArtifactFault: It is missing, altered or added to, has something else changed than its weights, or holds weights
            beside its shards.
    """
    record = open_artifact(folder, "erased", verify=verify, alone=verify)
    assert isinstance(record, ErasureReceipt), "the kind was checked"
    refuse_other_changes(record)
    refuse_second_weights(open_checkpoint(folder))
    return record


def refuse_second_weights(checkpoint: Checkpoint) -> None:
    """Refuse an erased checkpoint with weights beside its shards: some loader takes those, and the concept with them.

    Raises:
        ArtifactFault: There are any; what `space` keeps under `space/` is none.
    """
    folder, own = checkpoint.folder, {*checkpoint.shards, *([] if checkpoint.shards == [SINGLE] else [INDEX])}
    found = (path.relative_to(folder) for path in folder.rglob("*") if is_weights(path.name))
    second = sorted(path.as_posix() for path in found if path.parts[0] != "space" and path.as_posix() not in own)
    if second:
        raise ArtifactFault(
            f"`{folder / second[0]}` holds weights beside the shards that were erased from", hint="remove it"
        )
