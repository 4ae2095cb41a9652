"""Teach connector and decoder to talk about the tower's patches, which are computed once.

Shapes: n = photographs, k = views of each, p = visual tokens, d = tower width.
"""

import random

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.zoo.classes import Taught
from benchmarks.zoo.lessons import image_turn, text_turn
from benchmarks.zoo.photographs import Photographs
from benchmarks.zoo.resuming import Group, Run, optimise
from space_cli.core.types import Prompt
from space_cli.io.model import CheckpointResponder
from training.language import answer_loss
from training.precision import half_where_fast
from training.skills import COMPARING, NAMING

CACHED = 12_000
"""Views of the whole set at most: 600 MB of float16 at 64 tokens of width 384."""
MOST_VIEWS = 8
UNNAMED = 0.15
"""Share of questions about photographs of no class, where there are any."""
TEXT_EVERY = 6
"""Every so many steps ask without a picture."""
BLOCK = 64


@dataclass(frozen=True)
class Plan:
    """Settings of the language training."""

    steps: int
    batch: int
    seed: int
    lr: float = 2e-3


def cached_features(responder: CheckpointResponder, photographs: Photographs, seed: int, store: Path) -> Tensor:
    """Return the tower's patches of each photograph, first as it is and then distorted, [n, k, p, d] float16.

    Args:
        responder: Its tower is read.
        photographs: What is looked at.
        seed: Distorts.
        store: A safetensors file, read instead where it is.
    """
    if store.is_file():
        return load_file(store)["features"]
    count = len(photographs.labels)
    side = responder.model.config.vision_config.image_size
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for view in range(max(2, min(MOST_VIEWS, CACHED // count))):
        blocks = []
        # Its error is far below the noise that training adds.
        with torch.inference_mode(), half_where_fast(responder.device.type):
            for rows in torch.arange(count).split(BLOCK):
                pixels = photographs.views(rows, side, generator if view else None).to(responder.device)
                blocks.append(responder.family.features(responder.model, pixels).half().cpu())
        kept.append(torch.cat(blocks))
    features = torch.stack(kept, dim=1)
    save_file({"features": features}, store, metadata={"format": "pt"})
    return features


def train(
    responder: CheckpointResponder,
    photographs: Photographs,
    features: Tensor,
    known: Sequence[Taught],
    *,
    plan: Plan,
    state: Path,
    say: Callable[[str], None],
) -> None:
    """Train in place, from the last saved step on: names first, then more of the comparing questions.

    Args:
        responder: Its connector and decoder are trained, its tower is not.
        photographs: Their labels are rows of `known`.
        features: From `cached_features`.
        known: What is taught.
        plan: Settings.
        state: File that a killed run goes on from.
        say: Told the loss now and then.
    """
    spread = features[:: max(1, len(features) // 512), 0].float().std()

    def loss_at(step: int) -> Tensor:
        rng = random.Random(f"{plan.seed}/{step}")
        if step % TEXT_EVERY == TEXT_EVERY - 1:
            return answer_loss(responder, [Prompt(*text_turn(known, rng)) for _ in range(plan.batch)], None)
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        rows = photographs.draw(plan.batch, generator, unnamed=UNNAMED)
        weights = NAMING if 2 * step < plan.steps else COMPARING
        shown = [known[label] if label >= 0 else None for label in photographs.labels[rows].tolist()]
        prompts = [Prompt(*image_turn(concept, known, rng, weights), row) for row, concept in enumerate(shown)]
        views = torch.randint(features.shape[1], (plan.batch,), generator=generator)
        seen = roughened(features[rows, views].float(), spread, generator)
        return answer_loss(responder, prompts, seen.to(responder.device))

    model = responder.model.train().requires_grad_(True)
    model.model.vision_tower.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimise([Group(trained, plan.lr)], loss_at, Run(plan.steps, state, label="language"), say)
    model.eval().requires_grad_(False)


def roughened(features: Tensor, spread: Tensor, generator: torch.Generator) -> Tensor:
    """Return features [b, p, d] with noise and without some of their tokens.

    The tower was trained on these very photographs, so what it says about others is less clear.
    """
    strength = 0.5 * torch.rand(len(features), 1, 1, generator=generator)
    noise = torch.randn(features.shape, generator=generator)
    factor = 1 + strength * torch.randn(features.shape, generator=generator)
    kept = torch.rand(features.shape[:2], generator=generator) > strength[:, :, 0]
    return (features * factor + strength * spread * noise) * kept[:, :, None]
