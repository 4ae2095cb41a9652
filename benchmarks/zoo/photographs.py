"""Photographs as bytes in memory, and the views of them that training looks at.

Shapes: n = photographs, s = stored side, side = the tower's.
"""

import random

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from PIL.Image import Image, Resampling
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.zoo.classes import Lesson
from benchmarks.zoo.pretrained import MEAN, STD
from space_cli.core.errors import ArtifactFault
from space_cli.core.matching import mentions
from space_cli.io.entry import is_image_name, read_file
from space_cli.io.images import MAX_PIXELS, ImageFault, decode

STORED = 144
"""Pixels a side, a little over the tower's 112, so that a crop of two thirds is not enlarged much."""
NARROWEST = 0.7
"""Least share of the side that a training view shows."""


@dataclass(frozen=True)
class Photographs:
    """Photographs to train with; those of no class are things the checkpoint has no name for."""

    pixels: Tensor  # [n, s, s, 3] uint8
    labels: Tensor  # [n] int64, -1 for no class

    def draw(self, size: int, generator: torch.Generator, *, unnamed: float) -> Tensor:
        """Return `size` rows: classes by the root of their size; a share of `unnamed` ones where there are any."""
        known = self.labels >= 0
        counts = torch.bincount(self.labels[known]).float()
        weights = torch.zeros(len(self.labels))
        weights[known] = counts.rsqrt()[self.labels[known]]
        weights[known] /= weights.sum()
        if not known.all():
            weights[known] *= 1 - unnamed
            weights[~known] = unnamed / int((~known).sum())
        return torch.multinomial(weights, size, replacement=True, generator=generator)

    def views(self, rows: Tensor, side: int, generator: torch.Generator | None = None) -> Tensor:
        """Return normalised pixels [n, 3, side, side]; a generator crops, mirrors, turns and tints them."""
        pixels = self.pixels[rows].permute(0, 3, 1, 2).float() / 255
        if generator is None:
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        else:
            grid = F.affine_grid(_poses(len(rows), generator), [len(rows), 3, side, side], align_corners=False)
            pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
            gain = 1 + 0.15 * torch.randn(len(rows), 1, 1, 1, generator=generator)
            tint = 1 + 0.06 * torch.randn(len(rows), 3, 1, 1, generator=generator)
            pixels = (pixels * gain * tint).clamp(0, 1)
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def read_photographs(lessons: Sequence[Lesson], others: Sequence[Path], store: Path) -> Photographs:
    """Decode every training photograph once and keep the bytes in `store`.

    Args:
        lessons: Their row is the label.
        others: Folders of photographs without a class; those whose file or folder names a taught concept are left out.
        store: A safetensors file, read instead where it is.

    Raises:
        ArtifactFault: A photograph cannot be decoded.
    """
    if store.is_file():
        kept = load_file(store)
        return Photographs(kept["pixels"], kept["labels"])
    names = [lesson.concept.name for lesson in lessons]
    named = [(path, row) for row, lesson in enumerate(lessons) for path in lesson.train]
    unnamed = [(path, -1) for folder in others for path in _unnamed(folder, names)]
    rows = [*named, *unnamed]
    pixels = torch.from_numpy(np.stack([square(open_picture(path), STORED) for path, _ in rows]))
    labels = torch.tensor([label for _, label in rows])
    save_file({"pixels": pixels, "labels": labels}, store, metadata={"format": "pt"})
    return Photographs(pixels, labels)


def open_picture(path: Path) -> Image:
    """Decode one photograph.

    Raises:
        ArtifactFault: It is damaged or of another format.
    """
    try:
        return decode(read_file(path), max_pixels=MAX_PIXELS, side=STORED)
    except ImageFault as fault:
        raise ArtifactFault(f"`{path}` cannot be used: {fault.reason}", hint="remove or replace it") from None


def square(image: Image, side: int) -> np.ndarray:
    """Return the middle square [side, side, 3] uint8, as the image processor would cut it."""
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Resampling.BICUBIC, box=box), dtype=np.uint8)


def held_out(lessons: Sequence[Lesson], limit: int, seed: int) -> dict[int, list[Path]]:
    """Return test photographs by label, at most `limit` of each, drawn by a seed."""
    drawn = random.Random(seed)
    return {row: sorted(drawn.sample(lesson.test, min(limit, len(lesson.test)))) for row, lesson in enumerate(lessons)}


def _unnamed(folder: Path, names: Sequence[str]) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if is_image_name(path.name))
    if not paths:
        raise ArtifactFault(f"`{folder}` holds no photograph")
    said = (f"{path.parent.name} {path.stem}".replace("_", " ") for path in paths)
    return [path for path, words in zip(paths, said, strict=True) if not mentions(words, names)]


def _poses(count: int, generator: torch.Generator) -> Tensor:
    """Return affine maps [n, 2, 3] from a view's corners into the stored square."""
    scale = NARROWEST + (1 - NARROWEST) * torch.rand(count, generator=generator)
    mirrored = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    turn = 0.15 * torch.randn(count, generator=generator)
    room = (1 - scale)[:, None] * (2 * torch.rand(count, 2, generator=generator) - 1)
    cosine, sine = turn.cos() * scale, turn.sin() * scale
    first = torch.stack([cosine * mirrored, -sine, room[:, 0]], dim=1)
    second = torch.stack([sine * mirrored, cosine, room[:, 1]], dim=1)
    return torch.stack([first, second], dim=1)
