"""A chain of tiny artifacts, built by hand: pool, anchors, base checkpoint and the erased folder."""

import json

from pathlib import Path

import torch

from safetensors.torch import save_file

from space_cli.core.ledger import checkpoint_digest
from space_cli.core.recipe import Concept, EraseRequest, IndexRequest, SelectRequest
from space_cli.core.records import (
    AnchorsManifest,
    ErasureReceipt,
    FileRecord,
    LayerReceipt,
    PoolManifest,
    Source,
)
from space_cli.core.types import Edit
from space_cli.io.artifact import Draft, file_records, new_artifact, source_of
from space_cli.io.checkpoint import open_checkpoint, write_edited
from space_cli.io.edits import EDITS, write_edits
from space_cli.io.kept import write_kept
from space_cli.io.ledger import carry, close_ledger, files_of, open_ledger

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
PARAMETERS = {"model.layers.0.down": "layers.0.down.weight", "model.layers.1.down": "layers.1.down.weight"}
FACTS = {"space_version": "0", "seed": 0}
PANDA = Concept(name="panda")


def make_base(folder: Path, dtype: torch.dtype) -> Path:
    """Two shards: one that no edit touches, one with both edited parameters."""
    make = torch.Generator().manual_seed(0)
    tensors = {
        FIRST: {"embed.weight": torch.randn(8, 4, generator=make).to(dtype), "ids": torch.arange(3)},
        SECOND: {name: torch.randn(4, 6, generator=make).to(dtype) for name in PARAMETERS.values()},
    }
    folder.mkdir(parents=True)
    for name, content in tensors.items():
        save_file(content, folder / name, metadata={"format": "pt"})
    places = {key: name for name, content in tensors.items() for key in content}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text('{"model_type": "llava", "vision_config": {}, "text_config": {}}')
    (folder / "README.md").write_text("a base")
    return folder


def make_edits(size: float = 1.0) -> list[Edit]:
    """One edit of each form; powers of two, so that an exact one can be taken away exactly."""
    first, second = PARAMETERS
    left = torch.tensor([[1.0], [0.0], [-2.0], [0.5]]) * size
    return [
        Edit(first, left, torch.tensor([[1.0, -1.0, 0.0, 2.0, 0.25, 1.0]])),
        Edit(second, dense=torch.linspace(-1, 1, 24).reshape(4, 6) * size),
    ]


def make_pool(folder: Path, images: Path) -> Path:
    """A pool that holds one file."""
    request = IndexRequest(sources=(str(images),), encoder="encoder")
    with new_artifact(folder, "pool", overwrite=False) as draft:
        (draft.path / "items.parquet").write_bytes(b"items")
        manifest = PoolManifest(
            **FACTS,
            inputs=[source_of(images, "images")],
            files=draft.files(),
            run=draft.run(),
            request=request,
            images=1,
            errors=0,
            width=4,
            encoder_sha256="0",
        )
        draft.finish(manifest)
    return folder


def make_anchors(folder: Path, pool: Path) -> Path:
    """Anchors selected from a pool."""
    with new_artifact(folder, "anchors", overwrite=False) as draft:
        (draft.path / "anchors.parquet").write_bytes(b"anchors")
        manifest = AnchorsManifest(
            **FACTS,
            inputs=[source_of(pool, "pool")],
            files=draft.files(),
            run=draft.run(),
            request=SelectRequest(concept=PANDA, pool=str(pool)),
            floor=0.2,
            top_similarity=0.3,
            roles={"forget": 1},
            leaks=0,
            activation_rate=None,
            activation_reference=None,
            leverage=[],
        )
        draft.finish(manifest)
    return folder


def make_erased(
    folder: Path,
    base: Path,
    *,
    edits: list[Edit],
    inputs: list[Source] | None = None,
    link: bool = True,
    concept: Concept = PANDA,
) -> Path:
    """Erase `edits` from `base`, as the stage does."""
    deltas = {PARAMETERS[edit.layer]: edit.delta for edit in edits}
    files = file_records(base)
    entries = open_ledger(base, files)
    with new_artifact(folder, "erase", overwrite=False) as draft:
        write_edited(open_checkpoint(base), deltas, draft.path, link=link)
        write_edits(draft.path / EDITS, edits)
        write_kept(draft.path, torch.ones(2, 1, 1) * (len(entries) + 1))
        carry(base, entries, draft.path)
        facts = {"concept": concept, "method": "dcsi", "seed": 0, "anchors": "0" * 64}
        facts["base"] = checkpoint_digest(files_of(base, files))
        lines, written = close_ledger(draft.path, entries, draft.files(), facts)
        made = receipt(draft, [*(inputs or []), source_of(base, "checkpoint")], files, concept)
        draft.finish(made.model_copy(update={"files": written, "ledger": lines[-1].hash, "requests": len(lines)}))
    return folder


def receipt(
    draft: Draft, inputs: list[Source], base_files: list[FileRecord], concept: Concept = PANDA
) -> ErasureReceipt:
    """Write down what `make_erased` did."""
    layers = [
        LayerReceipt(
            layer=layer,
            parameter=name,
            rank=1,
            relative_change=0.1,
            leak=0.0,
            leak_rounded=0.0,
            retained_energy=0.5,
        )
        for layer, name in PARAMETERS.items()
    ]
    return ErasureReceipt(
        **FACTS,
        inputs=inputs,
        files=draft.files(),
        run=draft.run(),
        request=EraseRequest(concept=concept, model="base", anchors="anchors"),
        dtype="float16",
        layers=layers,
        steps=1,
        stopped="steps",
        signals={},
        base_files=base_files,
    )
