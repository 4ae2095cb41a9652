"""What prompts about one image begin with, read once.

A chat template shows the image before it asks, and a decoder's tokens do not look ahead: up to the end of the image,
every prompt about it has the same keys and values. They are computed once an image, and each question goes on from
there. LLaVA-1.5 shows 576 visual tokens, and a question with its answer has about thirty.

Shapes: b = prompts, t = tokens, u = images among them, l = tokens in common.
"""

from dataclasses import dataclass, replace

import torch

from torch import Tensor

from space_cli.core.losses import answer_mask
from space_cli.core.types import Batch


@dataclass(frozen=True)
class Opening:
    """What is common to the prompts about each image of a batch."""

    length: int  # l
    firsts: Tensor  # [u], of the prompts about an image the first one
    rows: Tensor  # [b], which of these images each prompt is about

    def of(self, batch: Batch) -> Batch:
        """Return the openings alone, one an image, [u, l]."""
        assert batch.images is not None, "only prompts about images have an opening in common"
        ids, mask, labels = (part[self.firsts, : self.length] for part in (batch.ids, batch.mask, batch.labels))
        return replace(batch, ids=ids, mask=mask, labels=labels, images=batch.images[self.firsts])


def common_opening(batch: Batch, image_token: int) -> Opening | None:
    """Return what prompts about the same images have in common; None where that saves nothing or is not there.

    That is where an image is asked about less than twice in the mean, since every prompt keeps its copy of keys and
    values; where a template opens otherwise from question to question; where a token of the opening is to be predicted.
    """
    if batch.images is None:
        return None
    images, rows = batch.images.unique(return_inverse=True)
    if 2 * len(images) > len(rows):
        return None
    length = opening_length(batch.ids[0].tolist(), image_token)
    opening = batch.ids[:, :length]
    alike = (opening == opening[0]).all() & batch.mask[:, :length].all() & ~answer_mask(batch)[:, :length].any()
    if not bool(alike):
        return None
    places = torch.arange(len(rows), device=rows.device)
    firsts = torch.full_like(images, len(rows)).scatter_reduce(0, rows, places, "amin")
    return Opening(length, firsts, rows)


def opening_length(ids: list[int], image_token: int) -> int:
    """Return how many tokens a prompt has up to the end of its image; 0 without one."""
    return max((place + 1 for place, token in enumerate(ids) if token == image_token), default=0)
