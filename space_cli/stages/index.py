"""Index: embed a pool of pictures, once each, so that a concept can be looked up in it by name."""

import json
import shutil

from itertools import chain, islice
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from pydantic import JsonValue
from torch import Tensor

from space_cli import __version__
from space_cli.core import registry
from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.core.protocols import Encoder, Progress, Task
from space_cli.core.recipe import IndexRequest
from space_cli.core.records import PoolManifest, Source
from space_cli.io import sources
from space_cli.io.artifact import (
    RECORD_NAME,
    REQUEST_NAME,
    Draft,
    file_records,
    new_artifact,
    read_record,
    source_of,
)
from space_cli.io.checkpoint import resolve
from space_cli.io.feed import Feed
from space_cli.io.pool import Embedded, Pool, ShardWriter, gather, open_pool, read_shards, write_pool
from space_cli.io.storage import read_small

FRESH = "fresh"
"""Sub-folder of the draft for shards of newly embedded images; a killed run is resumed from it."""


class _UnchangedError(Exception):
    """Leaves the draft, because the pool that is there is what would be written."""


def index(request: IndexRequest, out: Path, *, progress: Progress, overwrite: bool = False) -> PoolManifest:
    """Embed every image of the sources into the pool `out`.

    A pool that the same encoder made there before is brought up to date: only new content is embedded,
    vanished content is dropped, and nothing is written if nothing changed.

    Args:
        request: Sources, encoder and limits.
        out: The pool's folder.
        progress: Where to report to.
        overwrite: Begin anew in place of an existing pool.

    Returns:
        The pool's record.

    Raises:
        UsageFault: A source does not exist, or `out` may not be replaced.
        ArtifactFault: No image can be used, too many cannot, or the encoder is of no known type.
        EnvironmentFault: The disk, the memory or FAISS fails, or another run writes `out`.
    """
    total = _total(request)
    folder = resolve(request.encoder, request.revision)
    _model_type(folder)
    encoder = source_of(folder, "encoder")
    old = None if overwrite else _updatable(out, encoder)
    try:
        with new_artifact(out, _identity(request, encoder), overwrite=overwrite or old is not None) as draft:
            parts: list[Embedded | Pool] = [*read_shards(draft.path / FRESH), *([old] if old else [])]
            with _feed(request, parts, old) as feed, progress.task("index", total) as task:
                parts += _embed_fresh(feed, request, folder, draft, task)
            return _close(feed, parts, request, encoder, draft, old)
    except _UnchangedError:
        assert old is not None, "only an existing pool can be unchanged"
        progress.note(f"nothing changed: {old.manifest.images} images")
        return old.manifest


def plan(request: IndexRequest) -> dict[str, JsonValue]:
    """Say what `index` would do, from file names and headers alone.

    Figures that need a compressed tar unpacked or an encoder fetched are None.
    """
    images = _total(request)
    folder = Path(request.encoder)
    local = folder.is_dir()
    width = _width(folder) if local else None
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if local else None
    return {
        "sources": {source: sources.count(source) for source in request.sources},
        "images": images,
        "encoder": request.encoder,
        "model_type": _model_type(folder) if local else None,
        "width": width,
        "encoder_megabytes": None if weights is None else round(weights / 1e6, 1),
        # Shards and index each hold float32 rows.
        "disk_megabytes": None if images is None or width is None else round(2 * 4 * width * images / 1e6, 1),
        "device": request.device,
    }


def _total(request: IndexRequest) -> int | None:
    counts = [sources.count(source) for source in request.sources]
    return None if None in counts else sum(count or 0 for count in counts)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(read_small(folder / "config.json").decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        config = {}
    if not isinstance(config, dict) or not config:
        raise ArtifactFault(
            f"`{folder}` has no readable config.json: a CLIP or SigLIP is needed",
            hint="pass `--encoder` the hub id of one, or its folder",
        )
    return config


def _model_type(folder: Path) -> str:
    model_type = str(_config(folder).get("model_type"))
    known = registry.names("encoders")
    if model_type.replace("_", "-") not in known:
        raise ArtifactFault(
            f"`{folder}` is an encoder of the type `{model_type}`: known are {', '.join(known)}",
            hint="space list encoders",
        )
    return model_type


def _width(folder: Path) -> int | None:
    config = _config(folder)
    vision = config.get("vision_config")
    width = config.get("projection_dim") or (vision.get("hidden_size") if isinstance(vision, dict) else None)
    return width if isinstance(width, int) else None


def _updatable(out: Path, encoder: Source) -> Pool | None:
    if not (out / RECORD_NAME).is_file():
        return None
    record = read_record(out)
    if not isinstance(record, PoolManifest):
        return None
    if record.encoder_sha256 != encoder.sha256:
        raise UsageFault(
            f"`{out}` is of another encoder: {record.encoder_sha256[:12]}…, not {encoder.sha256[:12]}…",
            hint="pass `--overwrite` to replace it",
        )
    return open_pool(out)


def _identity(request: IndexRequest, encoder: Source) -> str:
    """Name what decides an embedding; finished shards are found again by content, so sources may change."""
    parts = {"encoder": encoder.sha256, "device": request.device, "version": __version__}
    return json.dumps({"stage": "index", **parts}, sort_keys=True)


def _feed(request: IndexRequest, parts: list[Embedded | Pool], old: Pool | None) -> Feed:
    items = (item for part in parts for item in part.items)
    # What another version or limit refused may be usable now.
    asked = (__version__, request.max_pixels)
    judged = old is not None and asked == (old.manifest.space_version, old.manifest.request.max_pixels)
    return Feed(
        request.sources,
        {i.sha256: (i.width, i.height) for i in items if i.width * i.height <= request.max_pixels},
        {error.sha256: error.reason for error in old.errors if error.sha256} if old and judged else {},
        workers=request.workers,
        ahead=2 * request.batch_size,  # the batch after the next is decoded during a forward pass
        max_pixels=request.max_pixels,
        max_errors=request.max_errors,
    )


def _embed_fresh(feed: Feed, request: IndexRequest, folder: Path, draft: Draft, task: Task) -> list[Embedded]:
    """Embed what is not known yet; the encoder is loaded only if there is any."""
    fresh = feed.fresh()
    first = next(fresh, None)
    if first is None:
        task(feed.seen)
        return []
    embedder = _Embedder(folder, request)
    number = len(list((draft.path / FRESH).glob("*.parquet")))
    writer = ShardWriter(draft.path / FRESH, number, request.shard_size)
    shown, made, started = 0, 0, monotonic()
    ready = feed.ready(chain([first], fresh), embedder.encoder)
    while batch := list(islice(ready, request.batch_size)):
        writer.add([ready.item for ready in batch], embedder([ready.pixels for ready in batch]))
        made += len(batch)
        task(feed.seen - shown, images_per_second=round(made / (monotonic() - started), 1), errors=feed.failed)
        shown = feed.seen
    writer.flush()
    task(feed.seen - shown)
    return writer.parts


class _Embedder:
    """The encoder, with a batch that shrinks to what the device holds."""

    def __init__(self, folder: Path, request: IndexRequest) -> None:
        # Importing transformers takes seconds, which a run that finds nothing new need not wait for.
        from space_cli.io.devices import pick_device

        device = pick_device(request.device)
        self.encoder: Encoder = registry.load("encoders", _model_type(folder)).load(folder, device)
        self.batch = request.batch_size

    def __call__(self, pixels: list[Tensor]) -> np.ndarray:
        """Return unit embeddings [n, d] float32."""
        rows: list[Tensor] = []
        start = 0
        while start < len(pixels):
            chunk = pixels[start : start + self.batch]
            try:
                rows.append(self.encoder.images(torch.stack(chunk)))
            except torch.OutOfMemoryError as failure:
                self._shrink(failure)
            else:
                start += len(chunk)
        embeddings = torch.cat(rows)
        if not embeddings.isfinite().all():
            raise ArtifactFault(
                "the encoder gives numbers that are not finite: its weights may be damaged",
                hint="copy or download it again, or pass `--device cpu`",
            )
        return embeddings.numpy()

    def _shrink(self, failure: torch.OutOfMemoryError) -> None:
        if self.batch == 1:
            raise EnvironmentFault(
                "the device has no memory for one image", hint="pass `--device cpu`, or a smaller encoder"
            ) from failure
        self.batch //= 2
        torch.cuda.empty_cache()


def _close(
    feed: Feed,
    parts: list[Embedded | Pool],
    request: IndexRequest,
    encoder: Source,
    draft: Draft,
    old: Pool | None,
) -> PoolManifest:
    items, errors = feed.items(), feed.errors()
    if not items:
        shutil.rmtree(draft.path)
        raise ArtifactFault(
            f"no image can be used: {feed.seen} found, {len(errors)} of them unreadable"
            + (f", the first `{errors[0].member}`: {errors[0].reason}" if errors else ""),
            hint="give folders, tar or parquet files with PNG, JPEG, WebP, GIF or BMP images",
            figures={"images": 0, "errors": len(errors)},
        )
    inputs = [encoder, *(_origin(Path(source).absolute(), feed) for source in request.sources)]
    if old and _same(old, request, inputs) and old.items == items:
        shutil.rmtree(draft.path)
        raise _UnchangedError
    pool = gather(items, parts)
    write_pool(draft.path, pool, errors, shard_size=request.shard_size)
    records = file_records(draft.path, skip={RECORD_NAME, REQUEST_NAME})
    manifest = PoolManifest(
        space_version=__version__,
        seed=request.seed,
        inputs=inputs,
        # The finished shards stay until the record is written, so that a kill while hashing costs nothing.
        files=[record for record in records if not record.path.startswith(f"{FRESH}/")],
        run=draft.run(),
        request=request,
        images=len(items),
        errors=len(errors),
        duplicates=feed.seen - len(items) - len(errors),
        width=pool.embeddings.shape[1],
        encoder_sha256=encoder.sha256,
    )
    draft.finish(manifest)
    shutil.rmtree(draft.path / FRESH, ignore_errors=True)
    return manifest


def _same(old: Pool, request: IndexRequest, inputs: list[Source]) -> bool:
    manifest = old.manifest
    return (manifest.request, manifest.inputs, manifest.space_version) == (request, inputs, __version__)


def _origin(root: Path, feed: Feed) -> Source:
    """Describe a source without reading again what was hashed already."""
    return source_of(root, "images", known=feed.digests(str(root)))
