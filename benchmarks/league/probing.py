"""What `space audit` would ask about a folder of photographs, for benchmarks that ask in their own process."""

from pathlib import Path

from space_cli.core import registry
from space_cli.core.nearness import nearest_first, text_embeddings
from space_cli.core.probing import build_probe, described, other_names, phrases_of, split_images
from space_cli.core.protocols import Encoder
from space_cli.core.recipe import Concept
from space_cli.core.records import AnchorsManifest, PoolManifest
from space_cli.core.types import Probe
from space_cli.io.artifact import read_record
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.devices import pick_device
from space_cli.io.probe import open_notes
from space_cli.io.probe_images import probe_images


def probe_of(
    concept: Concept, images: Path, anchors: Path, *, seed: int, device: str, limit: int | None = None
) -> Probe:
    """Return the probe of a concept, its neighbours ordered in the text space of the pool behind its anchors.

    Args:
        concept: As its erasure was told.
        images: A folder per concept, with `concepts.toml`.
        anchors: What `space select` wrote.
        seed: Of every draw a metric makes.
        device: Where the pool's encoder runs.
        limit: Pictures of each concept at most.
    """
    shown, notes = probe_images(images, limit=limit), open_notes(images)
    concept = described(concept, notes)
    names = other_names(concept, shown, notes, ())
    phrases = phrases_of(names, notes)
    embeddings = text_embeddings(_encoder(anchors, device), [concept.spoken, *(phrases[name] for name in names)])
    parts = split_images(concept, shown, str(images))
    return build_probe(concept, parts, nearest_first(names, embeddings), notes, ordered=True, seed=seed)


def _encoder(anchors: Path, device: str) -> Encoder:
    selected = read_record(anchors)
    assert isinstance(selected, AnchorsManifest), "a receipt names anchors"
    pool = read_record(Path(selected.request.pool))
    assert isinstance(pool, PoolManifest), "anchors name a pool"
    folder = Path(pool.request.encoder)
    encoder: Encoder = registry.load("encoders", open_checkpoint(folder).model_type).load(folder, pick_device(device))
    return encoder
