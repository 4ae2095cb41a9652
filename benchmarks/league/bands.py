"""Names given to other concepts' pictures before and after an erasure, by how near the concept is to the erased one.

    python -m benchmarks.league.bands ERASED --images PROBE --before FILE

The order is that of `space audit`: similarity of the names in the text space of the pool's encoder.
"""

import argparse
import json

from collections.abc import Mapping, Sequence
from pathlib import Path

from space_cli.core import registry
from space_cli.core.asking import named_rightly
from space_cli.core.nearness import nearest_first, text_embeddings
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.probing import (
    build_probe,
    described,
    other_names,
    phrases_of,
    split_images,
)
from space_cli.core.protocols import Encoder
from space_cli.core.records import AnchorsManifest, ErasureReceipt, PoolManifest
from space_cli.core.types import Probe
from space_cli.io.artifact import read_record
from space_cli.io.checkpoint import open_checkpoint
from space_cli.io.images import probe_images
from space_cli.io.model import open_model, pick_device
from space_cli.io.probe import open_notes

EDGES = (5, 20, 50)
"""Last ranks of the bands; what comes after them is one more."""


def main() -> None:
    """Print a JSON object: band -> before, after and the number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("erased", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--before", type=Path, required=True, help="Where the answers before erasing are kept")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    receipt = read_record(options.erased)
    assert isinstance(receipt, ErasureReceipt), "the league names an erased folder"
    probe = _probe(receipt, options.images, options.device)
    if not options.before.is_file():
        known = _hits(Path(receipt.request.model), probe, options.device)
        options.before.write_text(json.dumps(known), encoding="utf-8")
    before = json.loads(options.before.read_text("utf-8"))
    after = _hits(options.erased, probe, options.device)
    print(json.dumps(by_band([one.name for one in probe.retain], probe.names, before, after)))


def by_band(
    shown: Sequence[str], nearest: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> dict[str, Mapping[str, float]]:
    """Return each band's share named rightly before and after.

    Args:
        shown: The concept of each picture.
        nearest: Every concept, the nearest to the erased one first.
        before: 1 or 0 of each picture.
        after: The same after erasing.
    """
    ranks = {name: row + 1 for row, name in enumerate(dict.fromkeys(n for n in nearest if n in set(shown)))}
    found: dict[str, Mapping[str, float]] = {}
    for first, last in zip((0, *EDGES), (*EDGES, len(ranks)), strict=True):
        rows = [row for row, name in enumerate(shown) if first < ranks[name] <= last]
        if rows:
            label = f"{first + 1} to {last}" if last in EDGES else f"after {first}"
            old, new = (sum(hits[row] for row in rows) / len(rows) for hits in (before, after))
            found[label] = {"before": old, "after": new, "n": len(rows)}
    return found


def _hits(model: Path, probe: Probe, device: str) -> list[float]:
    return named_rightly(open_model(model, device=device), probe.retain, AUDIT_OPEN[:1], probe)


def _probe(receipt: ErasureReceipt, images: Path, device: str) -> Probe:
    shown, notes = probe_images(images, limit=None), open_notes(images)
    concept = described(receipt.request.concept, notes)
    names = other_names(concept, shown, notes, ())
    phrases = phrases_of(names, notes)
    embeddings = text_embeddings(_encoder(receipt, device), [concept.spoken, *(phrases[name] for name in names)])
    parts = split_images(concept, shown, str(images))
    return build_probe(concept, parts, nearest_first(names, embeddings), notes, ordered=True, seed=receipt.seed)


def _encoder(receipt: ErasureReceipt, device: str) -> Encoder:
    anchors = read_record(Path(receipt.request.anchors))
    assert isinstance(anchors, AnchorsManifest), "a receipt names anchors"
    pool = read_record(Path(anchors.request.pool))
    assert isinstance(pool, PoolManifest), "anchors name a pool"
    folder = Path(pool.request.encoder)
    encoder: Encoder = registry.load("encoders", open_checkpoint(folder).model_type).load(folder, pick_device(device))
    return encoder


if __name__ == "__main__":
    main()
