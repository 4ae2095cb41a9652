"""Turns what a person calls a checkpoint, a folder or a hub id, into a folder on this machine."""

import os
import re

from pathlib import Path

from huggingface_hub import constants, is_offline_mode, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from space_cli.core.errors import ArtifactFault, NetworkFault, SpaceError, UsageFault
from space_cli.io.storage import storage_faults

WANTED = [
    "*.safetensors",
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "tokenizer*",
    "README.md",
    "LICENSE*",
    "NOTICE*",
]
REFUSED = [
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.h5", "*.msgpack", "*.onnx", "*.gguf"),
    # A second copy of the weights in the vendor's own layout, which nothing here reads.
    *("original/*", "consolidated*", "onnx/*"),
]
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


def resolve(name: str, revision: str | None = None) -> Path:
    """Return the folder that a checkpoint name stands for, downloading it where it must.

    A folder that exists wins over a hub id of the same spelling. No pickle is ever downloaded. With
    `HF_HUB_OFFLINE` set, only the hub's local cache is looked at.

    Args:
        name: A folder, or a hub id such as `llava-hf/llava-1.5-7b-hf`.
        revision: Branch, tag or commit on the hub.

    Returns:
        An absolute path; inside the hub's cache its files are symbolic links.

    Raises:
        UsageFault: The name is neither a path nor a well-formed hub id, or a revision was given for a folder.
        ArtifactFault: The name looks like a path, and no folder is there.
        NetworkFault: The hub has no such repository or cannot be reached, or it is offline and not cached.
    """
    local = os.path.expanduser(name)
    if name and os.path.isdir(local):  # unlike pathlib's, it answers False to names no file can have
        if revision is not None:
            raise UsageFault(f"`{name}` is a local folder: a revision needs a hub id", hint="drop `--revision`")
        return Path(local).resolve()
    _refuse_missing_path(name, local)
    _refuse_malformed(name, revision)
    with storage_faults(Path(constants.HF_HUB_CACHE)):
        return _snapshot(name, revision)


def _refuse_missing_path(name: str, local: str) -> None:
    if os.path.isfile(local):
        raise ArtifactFault(f"`{name}` is a file: a checkpoint folder is needed", hint="pass the folder that holds it")
    if name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1 or "\\" in name:
        raise ArtifactFault(f"the folder `{name}` does not exist", hint="check the spelling of the name")


def _refuse_malformed(name: str, revision: str | None) -> None:
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UsageFault(
            f"`{name}` is neither a folder nor a hub id",
            hint="a hub id looks like `llava-hf/llava-1.5-7b-hf`",
        ) from None
    if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
        raise UsageFault(f"`{revision}` is no revision", hint="pass a branch, a tag or a commit of the repository")


def _snapshot(name: str, revision: str | None) -> Path:
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=WANTED,
            ignore_patterns=REFUSED,
            local_files_only=is_offline_mode(),
        )
    except (LocalEntryNotFoundError, HTTPError, ConnectionError, TimeoutError) as failure:
        raise _network_fault(name, revision, failure) from failure
    return Path(folder).absolute()


def _network_fault(name: str, revision: str | None, failure: Exception) -> SpaceError:
    wanted = name if revision is None else f"{name}@{revision}"
    if isinstance(failure, GatedRepoError):  # a child of RepositoryNotFoundError, so it is asked about first
        return NetworkFault(f"`{wanted}` is gated on the hub", hint="accept its terms on its page, then set `HF_TOKEN`")
    if isinstance(failure, RevisionNotFoundError):
        return NetworkFault(f"the hub's `{name}` has no revision `{revision}`", hint="check `--revision`")
    if isinstance(failure, RepositoryNotFoundError):
        return NetworkFault(
            f"no folder here and no repository on the hub is called `{wanted}`",
            hint="check the spelling of the name, or set `HF_TOKEN` if the repository is private",
        )
    if is_offline_mode():
        return NetworkFault(
            f"`{wanted}` is not in the hub's local cache, and offline mode is on",
            hint="unset `HF_HUB_OFFLINE` to download it, or pass a folder in its place",
        )
    return NetworkFault(
        f"`{wanted}` could not be downloaded: {type(failure).__name__}",
        hint="check the network and `HF_ENDPOINT`, or pass a folder in its place",
    )
