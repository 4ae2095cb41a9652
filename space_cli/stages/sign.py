"""Sign: put a signature beside a folder that is what its record says."""

from pathlib import Path

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.io.artifact import RECORD_NAME, check_files, read_record, unlisted
from space_cli.io.signing import check_key, write_signature

PLACE = "name a file outside of the folder with `--signature`"


def sign(folder: Path, signature: Path, *, private_key: Path, overwrite: bool = False) -> Path:
    """Sign a folder that `space` wrote.

    Args:
        folder: A pool, anchors, erased or audit folder.
        signature: Where to write the signature, outside of the folder.
        private_key: PEM file with an elliptic-curve private key.
        overwrite: Replace a signature that is there.

    Returns:
        `signature`.

    Raises:
        UsageFault: The key is of the wrong kind, or the place of the signature cannot be used.
        ArtifactFault: The folder has no record, or is not what its record says.
        EnvironmentFault: The extra `[sign]` is missing, or the file may not be written.
    """
    folder = folder.resolve()
    record = read_record(folder)
    _refuse_place(folder, signature, overwrite=overwrite)
    check_key(private_key, private=True)
    check_files(folder, record.files)
    added = unlisted(folder, record)
    if added:
        raise ArtifactFault(f"`{folder / added[0]}` was added later: {RECORD_NAME} does not list it", hint="remove it")
    write_signature(folder, signature, private_key=private_key)
    return signature


def _refuse_place(folder: Path, signature: Path, *, overwrite: bool) -> None:
    if folder == signature.resolve() or folder in signature.resolve().parents:
        raise UsageFault(f"`{signature}` lies inside the folder that is signed, which it would change", hint=PLACE)
    if signature.is_dir():
        raise UsageFault(f"`{signature}` is a folder: a file is needed for the signature", hint=PLACE)
    if not signature.parent.is_dir():
        raise UsageFault(
            f"the folder `{signature.parent}` does not exist",
            hint="make it, or write the signature elsewhere with `--signature`",
        )
    if signature.exists() and not overwrite:
        raise UsageFault(f"`{signature}` exists already", hint="pass `--overwrite` to replace it")
