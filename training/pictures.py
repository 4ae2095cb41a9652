"""Render and keep the training views: many of each named drawing, a few of every other one."""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from torch import Tensor

from space_cli.bundled.concepts import drawn_concepts
from space_cli.bundled.drawings import STYLES, available_symbols, render

NAMED_VIEWS = 200
OTHER_VIEWS = 12
FIRST_UNSEEN_SEED = 1_000_000
"""Renderings from this seed on are kept for measuring."""


class Views:
    """Training renderings as bytes.

    Shapes: v = views; pixels [v, 96, 96, 3] uint8; symbol and style index each view.
    """

    def __init__(self, workers: int) -> None:
        self.symbols = available_symbols()
        named = {concept.symbol for concept in drawn_concepts()}
        counts = [NAMED_VIEWS if s in named else OTHER_VIEWS for s in self.symbols]
        with ProcessPoolExecutor(workers) as pool:
            blocks = list(pool.map(_views, self.symbols, counts, chunksize=8))
        self.pixels = torch.from_numpy(np.concatenate(blocks))
        self.symbol = torch.tensor([i for i, c in enumerate(counts) for _ in range(c)])
        self.style = torch.tensor([v % len(STYLES) for c in counts for v in range(c)])
        self.counts = torch.tensor(counts)
        self.first = torch.cumsum(self.counts, 0) - self.counts
        self.named = torch.tensor([s in named for s in self.symbols])

    def draw(self, size: int, generator: torch.Generator, share: float = 0.5) -> Tensor:
        """Return `size` view indices of different symbols, about a `share` of them named where possible."""
        weights = torch.where(self.named, share / self.named.sum(), (1 - share) / (~self.named).sum())
        symbols = torch.multinomial(weights, size, generator=generator)
        picks = (torch.rand(size, generator=generator) * self.counts[symbols]).long()
        return self.first[symbols] + picks

    def tensors(self, views: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised pixels [n, 3, 96, 96]; a generator adds shifts and channel gains."""
        pixels = self.pixels[views].permute(0, 3, 1, 2).float() / 127.5 - 1
        if generator is None:
            return pixels
        dx, dy = (int(v) for v in torch.randint(-6, 7, (2,), generator=generator))
        gain = 1 + 0.1 * torch.randn(len(views), 3, 1, 1, generator=generator)
        return torch.roll(pixels, (dx, dy), dims=(2, 3)) * gain


def _views(symbol: str, count: int) -> np.ndarray:
    return np.stack([np.asarray(render(symbol, STYLES[i % len(STYLES)], i)) for i in range(count)])
