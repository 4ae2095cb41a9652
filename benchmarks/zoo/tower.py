"""Train the dual encoder: a pretrained tower learns the classes, and a small text twin learns their names.

The decoder reads the patches of the last layer but one, so those carry a class loss of their own, as in
`training/tower.py`.

Shapes: b = views, c = classes, d = tower width.
"""

import random

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPModel

from benchmarks.zoo import pretrained
from benchmarks.zoo.classes import Lesson
from benchmarks.zoo.photographs import Photographs
from benchmarks.zoo.resuming import Group, Run, optimise
from space_cli.core.errors import UsageFault
from training import tower
from training.precision import half_where_fast
from training.skills import with_ends

HEADS, PROJECTION = 6, 128
UNNAMED = 0.3
"""Share of views that show a photograph of no class; they only follow the teacher."""
FROZEN = 5
"""Blocks kept as they are: the later ones carry what the fine-tuning must change, and half the cost is saved."""
CAPTIONS = ("{bare}", "a photo of {phrase}", "a picture of {phrase}", "{phrase}", "an image of {phrase}")


@dataclass(frozen=True)
class Plan:
    """Settings of the tower's training."""

    steps: int
    batch: int
    seed: int
    lr: float = 1e-4  # of the tower's blocks; heads and text twin take five times as much
    teaching: float = 2.0  # weight of the teacher's loss


def build(start: str, tokenizer: Tokenizer, side: int, seed: int) -> CLIPModel:
    """Return the dual encoder before training.

    Args:
        start: "dinov2" for the pretrained tower, or "fresh" for two layers without any knowledge.
        tokenizer: Of the text twin.
        side: Pixels of the tower's square, a multiple of 14.
        seed: Draws what is fresh.

    Raises:
        UsageFault: The side is no multiple of a patch's.
        EnvironmentFault: The pretrained tower is not installed.
    """
    if side % pretrained.PATCH:
        raise UsageFault(f"a side of {side} pixels was asked for: a multiple of {pretrained.PATCH} is needed")
    torch.manual_seed(seed)
    if start == "fresh":
        shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        small = {**shape, "image_size": side, "patch_size": pretrained.PATCH, "projection_dim": PROJECTION}
        return tower.build(tokenizer, small)
    weights = pretrained.dinov2_small()
    config = pretrained.clip_config(weights, side=side, heads=HEADS, projection=PROJECTION)
    model = tower.build(tokenizer, config.to_dict())
    model.vision_model.load_state_dict(pretrained.as_clip(weights, grid=side // pretrained.PATCH))
    return model


def train(
    model: CLIPModel,
    photographs: Photographs,
    lessons: Sequence[Lesson],
    tokenizer: Tokenizer,
    targets: Tensor | None,
    *,
    plan: Plan,
    state: Path,
    say: Callable[[str], None],
) -> None:
    """Train in place, from the last saved step on.

    Args:
        model: From `build`.
        photographs: Their labels are rows of `lessons`.
        lessons: The classes.
        tokenizer: Of the text twin.
        targets: What the teacher sees in each photograph, [n, t]; None trains without one.
        plan: Settings.
        state: File that a killed run goes on from.
        say: Told the loss now and then.
    """
    width = model.config.vision_config.hidden_size
    torch.manual_seed(plan.seed)
    guess = nn.Linear(width, len(lessons)).to(model.device)
    follow = nn.Linear(width, 1 if targets is None else targets.shape[1]).to(model.device)
    ended = with_ends(tokenizer, end=True)
    side = model.config.vision_config.image_size

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        rows = photographs.draw(plan.batch, generator, unnamed=0.0 if targets is None else UNNAMED)
        pixels = photographs.views(rows, side, generator).to(model.device)
        labels = photographs.labels[rows].to(model.device)
        image, patches = _seen(model, pixels)
        loss = _naming(model, ended, lessons, image, labels, random.Random(f"{plan.seed}/{step}"))
        known = labels >= 0
        loss = loss + F.cross_entropy(guess(patches[known]), labels[known], label_smoothing=0.1)
        if targets is not None:
            wanted = targets[rows].to(model.device)
            loss = loss + plan.teaching * (1 - F.cosine_similarity(follow(patches), wanted)).mean()
        return loss

    depth = len(model.vision_model.encoder.layers)
    frozen = FROZEN if depth > FROZEN else 0
    model.train().requires_grad_(True)
    for part in (model.vision_model.embeddings, model.vision_model.pre_layrnorm, *_blocks(model)[:frozen]):
        part.requires_grad_(frozen == 0)
    blocks = [p for p in model.vision_model.parameters() if p.requires_grad]
    inside = {id(p) for p in model.vision_model.parameters()}
    fresh = [p for p in model.parameters() if id(p) not in inside]
    heads = [*fresh, *guess.parameters(), *(follow.parameters() if targets is not None else ())]
    run = Run(plan.steps, state, label="tower")
    optimise([Group(blocks, plan.lr), Group(heads, 5 * plan.lr)], loss_at, run, say)
    model.eval().requires_grad_(False)


def _blocks(model: CLIPModel) -> Sequence[nn.Module]:
    return list(model.vision_model.encoder.layers)


def _seen(model: CLIPModel, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit image embeddings [b, 128], and the normalised mean [b, d] of the patches that the decoder reads."""
    with half_where_fast(model.device.type):
        seen = model.vision_model(pixel_values=pixels, output_hidden_states=True)
    image = F.normalize(model.visual_projection(seen.pooler_output.float()), dim=-1)
    patches = seen.hidden_states[-2][:, 1:].float().mean(1)
    return image, F.layer_norm(patches, patches.shape[-1:])


def _naming(
    model: CLIPModel, tokenizer: Tokenizer, lessons: Sequence[Lesson], image: Tensor, labels: Tensor, rng: random.Random
) -> Tensor:
    """Return the contrastive loss between views and every class's caption; a caption may have several views."""
    texts = [rng.choice(CAPTIONS).format(bare=lesson.concept.name, phrase=lesson.concept.phrase) for lesson in lessons]
    text = F.normalize(tower.embed_text(model, tokenizer, texts), dim=-1)
    known = labels >= 0
    logits = model.logit_scale.exp().clamp(max=60) * image[known] @ text.T
    wanted = F.one_hot(labels[known], len(lessons)).float()
    there = wanted.sum(0) > 0
    shares = (wanted / wanted.sum(0).clamp(min=1)).T[there]
    return (F.cross_entropy(logits, labels[known]) + F.cross_entropy(logits.T[there], shares)) / 2
