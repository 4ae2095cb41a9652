"""Pools of tiny pictures, and short ways to index them and to look at what came out."""

import io
import json

from contextlib import contextmanager

import numpy as np

from PIL import Image

from space_cli.core.protocols import Silent
from space_cli.core.recipe import IndexRequest
from space_cli.io.pool import open_pool
from space_cli.stages.index import index


def picture(seed, kind="PNG"):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize((60 + seed, 50)).save(stream, kind)
    return stream.getvalue()


def pictures(count, first=0):
    kinds = ["PNG", "JPEG", "WEBP"]
    return {f"{row:03}.{kinds[row % 3].lower()}": picture(row, kinds[row % 3]) for row in range(first, first + count)}


def fill(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def asked(source, encoder, **options):
    options = {"batch_size": 4, "shard_size": 8, "device": "cpu", **options}
    return IndexRequest(sources=(str(source),), encoder=str(encoder), **options)


def run(source, encoder, out, *, progress=None, overwrite=False, **options):
    return index(asked(source, encoder, **options), out, progress=progress or Silent(), overwrite=overwrite)


def by_content(folder):
    pool = open_pool(folder)
    return {item.sha256: row for item, row in zip(pool.items, pool.embeddings, strict=True)}


def errors_of(folder):
    return [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]


class Counting(Silent):
    """Counts what the encoder embeds; stops the run after a number of steps where asked to."""

    def __init__(self, stop=None):
        self.notes, self.steps, self.stop = [], 0, stop

    @contextmanager
    def task(self, label, total=None):
        self.total = total
        yield self.step

    def step(self, steps=1, /, **figures):
        self.steps += steps
        if self.stop is not None and self.steps >= self.stop:
            raise KeyboardInterrupt

    def note(self, text):
        self.notes.append(text)
