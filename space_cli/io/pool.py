"""The pool on disk: embeddings in shards, where each image lies, and a FAISS index to search them.

    shards/00000.safetensors   `embeddings` [n, d] float32, unit rows; shards follow one another in pool order
    items.parquet              sha256, source, member, width, height of each row
    index.faiss                exact up to a million rows, inverted lists above
    errors.jsonl               source, member, reason, sha256 of each image that could not be used

float32 throughout: the exact index keeps it anyway, and half precision would move similarities by 5e-4.
Shapes: n = items, d = embedding width, q = queries, k = neighbours.
"""

import importlib
import json
import shutil

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, cast

import numpy as np

from space_cli.core.errors import ArtifactFault, EnvironmentFault, is_out_of_memory
from space_cli.core.records import PoolManifest
from space_cli.core.types import Item
from space_cli.io.artifact import open_artifact
from space_cli.io.indexes import read_index
from space_cli.io.items import ANEW, read_embeddings, read_items, write_embeddings, write_items

EXACT_LIMIT = 1_000_000
"""Rows that are searched exhaustively; 3 GB at 768 dimensions, about a second a query on one core."""
PROBED = 8
"""One inverted list in this many is searched; neighbours of a query lie in few of them."""
GPU_NEIGHBOURS = 2048
"""The most neighbours that FAISS finds on a GPU."""
SHARDS, ITEMS, INDEX, ERRORS = "shards", "items.parquet", "index.faiss", "errors.jsonl"


@dataclass(frozen=True)
class Embedded:
    """Items with their embeddings, row by row."""

    items: list[Item]
    embeddings: np.ndarray  # [n, d] float32


@dataclass(frozen=True)
class ImageError:
    """An image that was left out, with the reason."""

    source: str
    member: str
    reason: str
    sha256: str = ""  # empty where it could not even be read


class Pool:
    """A finished pool; embeddings and index are read when first asked for."""

    def __init__(self, folder: Path, manifest: PoolManifest, items: list[Item]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.items = items

    @cached_property
    def embeddings(self) -> np.ndarray:
        """[n, d] float32, unit rows.

        Raises:
            ArtifactFault: They are not as many, or not as wide, as the record says.
        """
        found = read_embeddings(sorted((self.folder / SHARDS).glob("*.safetensors")))
        self._require_fit(SHARDS, found.shape)
        return found

    @property
    def errors(self) -> list[ImageError]:
        """What was left out.

        Raises:
            ArtifactFault: The list is no list of ours.
        """
        path = self.folder / ERRORS
        try:
            return [ImageError(**json.loads(line)) for line in path.read_bytes().splitlines()]
        except (OSError, ValueError, TypeError, RecursionError) as failure:
            raise ArtifactFault(f"`{path}` is not a readable list of images: {failure}", hint=ANEW) from None

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest items of each query.

        Args:
            queries: [q, d], unit rows.
            k: Neighbours a query; at most n are there.

        Returns:
            Similarities [q, k] float32, largest first, and rows [q, k] int64.
        """
        k = min(k, len(self.items))
        index = self._device_index if k <= GPU_NEIGHBOURS else self._index
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        similarities, rows = index.search(asked, k)
        if (rows < 0).any() and hasattr(self._index, "nlist"):
            # The probed lists held fewer than k items, so every list is searched.
            every = faiss_module().SearchParametersIVF(nprobe=self._index.nlist)
            similarities, rows = self._index.search(asked, k, params=every)
        if (rows < 0).any() or (rows >= len(self.items)).any():
            raise ArtifactFault(f"`{self.folder / INDEX}` finds rows that the pool does not have", hint=ANEW)
        return similarities, rows

    @cached_property
    def _index(self) -> Any:  # ruff: ignore[any-type] - FAISS has no types
        path = self.folder / INDEX
        try:
            index = read_index(faiss_module(), path)
        except RuntimeError as failure:
            if is_out_of_memory(failure):
                raise
            raise ArtifactFault(f"`{path}` is not a readable index", hint=ANEW) from failure
        self._require_fit(INDEX, (index.ntotal, index.d))
        return index

    def _require_fit(self, name: str, found: Sequence[int]) -> None:
        wanted = (len(self.items), self.manifest.width)
        if tuple(found) != wanted:
            raise ArtifactFault(
                f"`{self.folder / name}` has {' x '.join(map(str, found))} numbers: {wanted[0]} items of "
                f"{wanted[1]} are in the pool",
                hint=ANEW,
            )

    @cached_property
    def _device_index(self) -> Any:  # ruff: ignore[any-type]
        return _on_gpu(self._index)


class ShardWriter:
    """Keeps finished work, shard by shard; a shard counts once its item list is there, which comes last.

    Args:
        folder: Where shards go.
        number: Of the first shard.
        size: Items after which a shard is written.
    """

    kept: ClassVar[bool] = False
    """Whether there is one by now: before the first, a run that is killed begins anew."""

    def __init__(self, folder: Path, number: int, size: int) -> None:
        self.parts: list[Embedded] = []  # every shard written
        self._folder = folder
        self._number = number
        self._size = size
        self._items: list[Item] = []
        self._rows: list[np.ndarray] = []

    def add(self, items: Sequence[Item], embeddings: np.ndarray) -> None:
        """Take a batch, and write a shard if it is full."""
        self._items += items
        self._rows.append(embeddings)
        if len(self._items) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Write what has been taken since the last shard."""
        if not self._items:
            return
        part = Embedded(self._items, np.concatenate(self._rows))
        stem = self._folder / f"{self._number + len(self.parts):05}"
        self._folder.mkdir(exist_ok=True)
        write_embeddings(stem.with_suffix(".safetensors"), part.embeddings)
        write_items(stem.with_suffix(".parquet"), part.items)
        self.parts.append(part)
        ShardWriter.kept = True
        self._items, self._rows = [], []


def open_pool(folder: Path, *, verify: bool = True) -> Pool:
    """Open a pool that `space index` wrote.

    Args:
        folder: Where it lies.
        verify: Compare every file with its digest.

    Raises:
        ArtifactFault: It is missing, incomplete, of another kind, or altered.
    """
    manifest = cast("PoolManifest", open_artifact(folder, "pool", verify=verify))
    return Pool(folder, manifest, read_items(folder / ITEMS))


def gather(items: Sequence[Item], parts: Sequence[Embedded | Pool]) -> Embedded:
    """Put embeddings in the order of `items`, each of which lies in one of the parts."""
    place = {item.sha256: row for row, item in enumerate(items)}
    embeddings = np.empty((len(items), parts[0].embeddings.shape[1]), dtype=np.float32)
    for part in parts:
        rows = [row for row, item in enumerate(part.items) if item.sha256 in place]
        embeddings[[place[part.items[row].sha256] for row in rows]] = part.embeddings[rows]
    return Embedded(list(items), embeddings)


def write_pool(
    folder: Path,
    pool: Embedded,
    errors: Sequence[ImageError],
    *,
    shard_size: int,
    exact_limit: int = EXACT_LIMIT,
) -> None:
    """Write everything of a pool but its record; what is there of an earlier attempt is replaced.

    Args:
        folder: The draft.
        pool: At least one item.
        errors: What was left out.
        shard_size: Rows a shard.
        exact_limit: Rows above which the index keeps inverted lists.

    Raises:
        EnvironmentFault: FAISS cannot be used.
    """
    index = build_index(pool.embeddings, exact_limit=exact_limit)
    faiss = faiss_module()
    with (folder / INDEX).open("wb") as stream:
        faiss.write_index(index, faiss.PyCallbackIOWriter(stream.write))
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    (folder / SHARDS).mkdir()
    for number, start in enumerate(range(0, len(pool.items), shard_size)):
        write_embeddings(folder / SHARDS / f"{number:05}.safetensors", pool.embeddings[start : start + shard_size])
    write_items(folder / ITEMS, pool.items)
    lines = "".join(json.dumps(asdict(error), sort_keys=True) + "\n" for error in errors)
    (folder / ERRORS).write_text(lines, encoding="utf-8")


def read_shards(folder: Path) -> list[Embedded]:
    """Read the finished shards that a `ShardWriter` left, in order.

    Raises:
        ArtifactFault: One is damaged.
    """
    parts = [
        Embedded(read_items(path), read_embeddings([path.with_suffix(".safetensors")]))
        for path in sorted(folder.glob("*.parquet"))
    ]
    ShardWriter.kept = bool(parts)
    return parts


def build_index(embeddings: np.ndarray, *, exact_limit: int) -> Any:  # ruff: ignore[any-type]
    """Return a FAISS index of unit rows [n, d] by inner product, on the CPU and ready to be written.

    Raises:
        EnvironmentFault: FAISS cannot be used.
    """
    faiss = faiss_module()
    rows, width = embeddings.shape
    if rows <= exact_limit:
        index = faiss.IndexFlatIP(width)
        index.add(embeddings)
        return index
    lists = round(rows**0.5)  # as many lists as rows in a list, which balances finding lists and searching them
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    fast = _on_gpu(index)
    fast.train(embeddings)
    fast.add(embeddings)
    index = index if fast is index else faiss.index_gpu_to_cpu(fast)
    index.nprobe = max(1, lists // PROBED)
    return index


def faiss_module() -> ModuleType:
    """Import FAISS, whose two wheels spoil each other when both are installed.

    Raises:
        EnvironmentFault: It is missing, or what is installed is not whole.
    """
    try:
        faiss = importlib.import_module("faiss")
    except ImportError as failure:
        raise EnvironmentFault(f"FAISS cannot be imported: {failure}", hint="space doctor") from failure
    if not hasattr(faiss, "IndexFlatIP"):
        raise EnvironmentFault(
            "FAISS is installed but not whole: `faiss-cpu` and `faiss-gpu` overwrite each other",
            hint="space doctor",
        )
    return faiss


def _on_gpu(index: Any) -> Any:  # ruff: ignore[any-type]
    faiss = faiss_module()
    # Without a device FAISS hands out an empty index instead of an error.
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return index
    return faiss.index_cpu_to_gpus_list(index, gpus=[0])
