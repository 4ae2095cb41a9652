"""Checkpoints on disk: parameters read lazily from shards, and an edited copy written shard by shard.

Only headers are read when a checkpoint is opened, so a dry run on a large one costs milliseconds.
"""

import json
import os
import shutil

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from space_cli.core.errors import PASS_FOLDER, READABLE, REFETCH, ArtifactFault, EnvironmentFault, UsageFault
from space_cli.core.records import FileRecord
from space_cli.io.artifact import RECORD_NAME, check_files
from space_cli.io.hub import resolve
from space_cli.io.shards import Change, ParameterInfo, place_copy, read_header, read_tensor, rewrite_shard
from space_cli.io.storage import read_small, require_space, storage_faults
from space_cli.io.weights import PICKLES, is_weights, refuse_deep, refuse_diverted

__all__ = [
    "Checkpoint",
    "ParameterInfo",
    "bytes_to_write",
    "carried_files",
    "check_recorded",
    "open_checkpoint",
    "refuse_foreign_links",
    "resolve",
    "write_edited",
]

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
STAGING = ".writing"


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint folder; no weight is in memory."""

    folder: Path
    config: dict[str, Any]
    model_type: str
    parameters: dict[str, ParameterInfo]

    @property
    def shards(self) -> list[str]:
        """The files that hold the parameters, sorted."""
        return sorted({info.file for info in self.parameters.values()})

    def tensor(self, name: str) -> Tensor:
        """Read one parameter, on the CPU and in its stored dtype.

        Raises:
            ArtifactFault: There is no such parameter.
        """
        if name not in self.parameters:
            raise ArtifactFault(f"`{self.folder}` has no parameter `{name}`", hint=REFETCH)
        return read_tensor(self.folder / self.parameters[name].file, name)


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint's config and the headers of its shards.

    Raises:
        ArtifactFault: The config is missing or unreadable, weights are missing, corrupt or pickled, or the
            index does not fit the shards.
    """
    if not os.path.isdir(folder):  # unlike pathlib's, it answers False to names no file can have
        raise ArtifactFault(
            f"the checkpoint folder `{folder}` does not exist",
            hint="records name it where it was: put it back there, or link it to that place",
        )
    config = _read_json(folder / CONFIG)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ArtifactFault(f"`{folder / CONFIG}` names no `model_type`", hint=PASS_FOLDER)
    refuse_diverted(folder, config)
    parameters = _read_parameters(folder)
    refuse_deep(folder, config, len(parameters))
    return Checkpoint(folder, config, model_type, parameters)


def write_edited(checkpoint: Checkpoint, changes: Mapping[str, Change], out: Path, *, link: bool = True) -> None:
    """Write a drop-in copy of a checkpoint with some parameters changed.

    Key set, shapes and dtypes stay; each file that is not a weight is copied byte for byte, except the record
    of an earlier erasure. Everything is made beside its place first: after an error `out` holds nothing new.

    With `link`, a shard without an edit is the base's own file under a second name. That saves its size on
    disk, but whoever later writes *into* it, rather than replacing it, changes both checkpoints; `space
    verify` finds that.

    Args:
        checkpoint: The base.
        changes: Parameter name -> a function that computes its `ΔW`, or what `add_delta` made of it.
        out: Folder to write into; made if absent.
        link: Hard-link shards without an edit where the file system can, instead of copying them.

    Raises:
        UsageFault: `out` lies inside the base, which writing would change.
        ArtifactFault: A parameter is unknown, a delta does not fit or is not finite, or a file lies elsewhere.
        EnvironmentFault: The disk has not enough space or refuses the write.
    """
    out = out.resolve()
    forbid_inside(checkpoint.folder.resolve(), out)
    refuse_foreign_links(checkpoint)
    unknown = sorted(set(changes) - set(checkpoint.parameters))
    if unknown:
        raise ArtifactFault(f"`{checkpoint.folder}` has no parameter `{unknown[0]}`: it cannot be edited", hint=REFETCH)
    edited = {checkpoint.parameters[name].file for name in changes}
    with storage_faults(out), _staging(out) as staging:
        require_space(out, bytes_to_write(checkpoint, edited, out, link=link))
        for shard in checkpoint.shards:
            source, target = checkpoint.folder / shard, staging / shard
            own = {name: changes[name] for name in sorted(changes) if checkpoint.parameters[name].file == shard}
            if own:
                rewrite_shard(source, target, own)
            else:
                place_copy(source, target, link=link)
        for name in carried_files(checkpoint):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            place_copy(checkpoint.folder / name, staging / name, link=False)
        _move_all(staging, out)


def forbid_inside(folder: Path, out: Path) -> None:
    """Refuse to write into a checkpoint.

    Raises:
        UsageFault: `out` is its folder or lies inside it.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageFault(
            f"`{out}` lies inside the checkpoint `{folder}`, which it would change",
            hint="choose another folder with `--out` or `--workspace`",
        )


def refuse_foreign_links(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that lends a copy files from elsewhere: a link in it may lead to a private file.

    Weights may lie elsewhere, for nothing but weights is read there. The hub's cache is all links, each to a file in
    `blobs` beside `snapshots`.

    Raises:
        ArtifactFault: A file that a copy would take over byte for byte lies neither in the folder nor in such a cache.
    """
    folder = checkpoint.folder.resolve()
    homes = [folder, folder.parents[1] / "blobs"] if folder.parent.name == "snapshots" else [folder]
    for name in carried_files(checkpoint):
        real = (folder / name).resolve()
        if not any(real.is_relative_to(home) for home in homes):
            raise ArtifactFault(
                f"`{checkpoint.folder / name}` is a link to `{real}`, which would be copied along",
                hint="put a copy of that file in its place, or remove the link",
            )


def carried_files(checkpoint: Checkpoint) -> list[str]:
    """List what an edited copy takes over byte for byte: relative paths, sorted.

    Weights in any format, hidden files and folders, and the record and `space/` folder of an earlier erasure stay out.
    """
    folder = checkpoint.folder
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if _is_carried(checkpoint, name))


def check_recorded(checkpoint: Checkpoint, files: Sequence[FileRecord]) -> None:
    """Compare a checkpoint with the files recorded of it: its shards, and all that a copy takes over.

    What no copy takes over, such as a `.git` folder, may have changed.

    Raises:
        ArtifactFault: One is missing, altered or new.
    """
    recorded = {entry.path: entry for entry in files}
    wanted = {name for name in recorded if _is_carried(checkpoint, name)}
    for name in sorted(wanted.union(checkpoint.shards, carried_files(checkpoint))):
        if name not in recorded:
            raise ArtifactFault(
                f"`{checkpoint.folder / name}` is not among the files recorded of its checkpoint",
                hint="take it out of the folder, or take the checkpoint as it was then",
            )
        check_files(checkpoint.folder, [recorded[name]])


def _is_carried(checkpoint: Checkpoint, name: str) -> bool:
    *folders, last = name.split("/")
    # No record lists hidden files (`.gitattributes` of a clone), so a copy that held one would not verify.
    if any(part.startswith(".") for part in (*folders, last)) or folders[:1] == ["space"]:
        return False
    if name == INDEX:  # beside a single file it is stale, and names shards that stay behind
        return checkpoint.shards != [SINGLE]
    return name != RECORD_NAME and not is_weights(last)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise ArtifactFault(f"`{path.parent}` has no {path.name}", hint=PASS_FOLDER)
        content = json.loads(read_small(path))
    except PermissionError as failure:
        raise EnvironmentFault(f"`{path}` may not be read", hint=READABLE) from failure
    except (ValueError, RecursionError) as failure:
        raise ArtifactFault(f"`{path}` is not JSON: {failure}", hint=REFETCH) from None
    if not isinstance(content, dict):
        raise ArtifactFault(f"`{path}` is not a JSON object", hint=REFETCH)
    return content


def _read_parameters(folder: Path) -> dict[str, ParameterInfo]:
    # The order in which transformers looks for weights.
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    if not (folder / INDEX).is_file():
        raise _no_weights(folder)
    promised = _read_index(folder / INDEX)
    parameters: dict[str, ParameterInfo] = {}
    for shard in sorted(set(promised.values())):
        found = read_header(folder / shard)
        twice = sorted(set(found) & set(parameters))
        if twice:
            raise ArtifactFault(
                f"`{folder}` holds `{twice[0]}` twice: in {parameters[twice[0]].file} and {shard}", hint=REFETCH
            )
        parameters.update(found)
    for name, shard in promised.items():
        if name not in parameters or parameters[name].file != shard:
            raise ArtifactFault(
                f"{INDEX} places `{name}` in the shard `{folder / shard}`: it is not there", hint=REFETCH
            )
    return parameters


def _read_index(path: Path) -> dict[str, str]:
    promised = _read_json(path).get("weight_map")
    if not isinstance(promised, dict) or not promised:
        raise ArtifactFault(f"`{path}` has no `weight_map`", hint=REFETCH)
    for shard in promised.values():
        plain = isinstance(shard, str) and PurePosixPath(shard).name == shard and "\\" not in shard
        if not plain or not shard.endswith(".safetensors"):
            raise ArtifactFault(
                f"`{path}` names the shard `{shard}`: a safetensors file beside it is needed", hint=REFETCH
            )
    return promised


def _no_weights(folder: Path) -> ArtifactFault:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        return ArtifactFault(
            f"`{folder}` holds its weights as pickle ({pickles[0]}), which may run code when read: refused",
            hint="where you trust it, convert it: load it with transformers, then `save_pretrained(FOLDER)`",
        )
    return ArtifactFault(
        f"`{folder}` holds no weights: neither {SINGLE} nor {INDEX} is there",
        hint="choose a `--revision` with safetensors; pickled weights are never downloaded",
    )


def bytes_to_write(checkpoint: Checkpoint, edited: set[str], out: Path, *, link: bool = True) -> int:
    """Return what an edited copy takes of the disk of `out`, which exists; `edited` names shards."""
    written = set(checkpoint.shards)
    if link:
        device = out.stat().st_dev
        written = {name for name in written if name in edited or (checkpoint.folder / name).stat().st_dev != device}
    return sum((checkpoint.folder / name).stat().st_size for name in [*written, *carried_files(checkpoint)])


@contextmanager
def _staging(out: Path) -> Generator[Path]:
    made = not out.exists()
    staging = out / STAGING
    shutil.rmtree(staging, ignore_errors=True)  # left by a killed run
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging)
        if made and not any(out.iterdir()):
            out.rmdir()


def _move_all(staging: Path, out: Path) -> None:
    for path in sorted(path for path in staging.rglob("*") if path.is_file()):
        target = out / path.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A rename, so that a file of an earlier try is replaced rather than written through its hard link.
        path.replace(target)
