"""Teach the connector and the language model to talk about the tower's patches."""

import random
import time

import torch
import torch.nn.functional as F

from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    BaseImageProcessor,
    CLIPImageProcessorPil,
    CLIPModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from space_cli.core.losses import next_labels
from space_cli.core.types import Prompt
from space_cli.families.llava import family
from space_cli.io.model import CheckpointResponder
from training.corpus import image_turn, text_turn
from training.pictures import STYLES, Views
from training.precision import half_where_fast

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %} {% else %}ASSISTANT: {{ message['content'][0]['text'] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def build(encoder: CLIPModel, tokenizer: Tokenizer, processor: BaseImageProcessor | None = None) -> CheckpointResponder:
    """Return a LLaVA whose tower is the encoder's, its connector and decoder fresh."""
    vision = encoder.config.vision_config
    ids = {name: tokenizer.token_to_id(f"<{name}>") for name in ("pad", "s", "/s", "image")}
    text = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=192, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
        pad_token_id=ids["pad"], bos_token_id=ids["s"], eos_token_id=ids["/s"], tie_word_embeddings=False,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=ids["image"],
        image_seq_length=(vision.image_size // vision.patch_size) ** 2, vision_feature_layer=-2,
        vision_feature_select_strategy="default", tie_word_embeddings=False,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids["/s"]
    model.generation_config.pad_token_id = ids["pad"]
    model.model.vision_tower.load_state_dict(encoder.vision_model.state_dict())
    return CheckpointResponder(
        model, wrapped(tokenizer), processor or image_processor(), family(model.config.to_dict())
    )


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Return the tokenizer with its special tokens named and the chat template attached."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=["<image>"], model_max_length=512, chat_template=TEMPLATE,
    )  # fmt: skip


def image_processor() -> CLIPImageProcessorPil:
    """Return the preprocessing of the tower: 96 pixels, values in [-1, 1]."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96},
        image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5],
    )  # fmt: skip


@torch.inference_mode()
def cache_features(responder: CheckpointResponder, views: Views) -> Tensor:
    """Return the tower's patches of every view, [views, 36, 192] float16."""
    blocks = []
    for start in range(0, len(views.pixels), 256):
        rows = torch.arange(start, min(start + 256, len(views.pixels)))
        blocks.append(responder.family.features(responder.model, views.tensors(rows)).half())
    return torch.cat(blocks)


def train(
    responder: CheckpointResponder,
    views: Views,
    features: Tensor,
    *,
    steps: int,
    batch: int,
    seed: int,
    weights: tuple[int, ...],
) -> None:
    """Train connector and decoder in place on one question per rendering, every sixth batch text only."""
    generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    model = responder.model.train().requires_grad_(True)
    trained = [*model.model.multi_modal_projector.parameters(), *model.model.language_model.parameters()]
    trained += list(model.lm_head.parameters())
    optimiser = torch.optim.AdamW(trained, lr=2e-3, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps, pct_start=0.06)
    spread = features[:2048].float().std()
    started = time.monotonic()
    for step in range(steps):
        if step % 6 == 5:
            prompts = [Prompt(*text_turn(rng)) for _ in range(batch)]
            seen = None
        else:
            picks = views.draw(batch, generator, 0.8)
            asked = [(views.symbols[views.symbol[p]], STYLES[views.style[p]]) for p in picks]
            prompts = [Prompt(*image_turn(*pair, rng, weights), i) for i, pair in enumerate(asked)]
            seen = features[picks].float()
            noise = torch.randn(seen.shape, generator=generator) * spread
            strength = torch.rand(batch, 1, 1, generator=generator) * 0.6
            seen = seen + noise * strength
        loss = answer_loss(responder, prompts, seen)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"language {step}/{steps} loss {loss:.3f} {time.monotonic() - started:.0f}s", flush=True)
    model.eval().requires_grad_(False)


def answer_loss(responder: CheckpointResponder, prompts: list[Prompt], features: Tensor | None) -> Tensor:
    """Return the mean cross-entropy of the answers' tokens, in nats."""
    batch = responder.batch(prompts)
    with half_where_fast(responder.device.type):
        logits = responder.answer_logits(batch, features).float()
    return F.cross_entropy(logits, next_labels(batch))
