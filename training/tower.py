"""Train the vision tower and its text twin with a contrastive and a drawing-identity loss."""

import random
import time

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from training.corpus import image_caption
from training.pictures import Views
from training.precision import half_where_fast

WIDTH = 192


def build(tokenizer: Tokenizer, vision: Mapping[str, object] | None = None) -> CLIPModel:
    """Return a small CLIPModel with fresh weights, its tower of the shape given."""
    ids = {name: tokenizer.token_to_id(f"<{name}>") for name in ("pad", "s", "/s")}
    text = {
        "vocab_size": tokenizer.get_vocab_size(), "hidden_size": 128, "intermediate_size": 384,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
        "hidden_act": "gelu", "projection_dim": 128,
        "pad_token_id": ids["pad"], "bos_token_id": ids["s"], "eos_token_id": ids["/s"],
    }  # fmt: skip
    vision = vision or {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 6,
        "num_attention_heads": 4, "image_size": 96, "patch_size": 16, "hidden_act": "gelu",
        "projection_dim": 128,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def train(
    views: Views, tokenizer: Tokenizer, *, steps: int, batch: int, seed: int, start: CLIPModel | None = None
) -> CLIPModel:
    """Train from fresh weights, or from `start` with three in four pictures being named ones."""
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    model = (start or build(tokenizer)).train()
    share = 0.75 if start else 0.5
    identity = nn.Linear(WIDTH, len(views.symbols))
    parameters = [*model.parameters(), *identity.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, steps, pct_start=0.08)
    started = time.monotonic()
    for step in range(steps):
        picks = views.draw(batch, generator, share)
        loss, right = _step(model, identity, views, picks, tokenizer, generator, rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(
                f"tower {step}/{steps} loss {loss:.3f} identity {right:.2f} {time.monotonic() - started:.0f}s",
                flush=True,
            )
    return model.eval()


def _step(model, identity, views, picks, tokenizer, generator, rng) -> tuple[Tensor, float]:
    with half_where_fast("cpu"):
        seen = model.vision_model(pixel_values=views.tensors(picks, generator), output_hidden_states=True)
    image = F.normalize(model.visual_projection(seen.pooler_output.float()), dim=-1)
    texts = [image_caption(views.symbols[i], rng) for i in views.symbol[picks]]
    text = F.normalize(embed_text(model, tokenizer, texts), dim=-1)
    logits = model.logit_scale.exp().clamp(max=60) * image @ text.T
    target = torch.arange(len(picks))
    contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    # The LLM reads the penultimate layer's patches, so they must carry identity themselves.
    patches = seen.hidden_states[-2][:, 1:].float().mean(1)
    guess = identity(F.layer_norm(patches, (WIDTH,)))
    symbols = views.symbol[picks]
    right = (guess.argmax(-1) == symbols).float().mean().item()
    return contrast + F.cross_entropy(guess, symbols, label_smoothing=0.1), right


def embed_text(model: CLIPModel, tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Return text embeddings [n, 128], not normalised."""
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<pad>"), pad_token="<pad>")
    tokenizer.enable_truncation(64)
    encoded = tokenizer.encode_batch(texts)
    device = model.logit_scale.device
    ids = torch.tensor([e.ids for e in encoded], device=device)
    mask = torch.tensor([e.attention_mask for e in encoded], device=device)
    return model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
