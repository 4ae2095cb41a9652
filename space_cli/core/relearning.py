"""A few steps of LoRA on a checkpoint whose weights stay untouched, with looks at it on the way.

Shapes: p = visual tokens, v = tower width, r = rank.
"""

import random

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from torch import Tensor, nn

from space_cli.core.hooks import editing
from space_cli.core.losses import answer_log_likelihood, split, token_log_likelihood
from space_cli.core.memory import rows_at_once
from space_cli.core.protocols import Responder
from space_cli.core.scaling import Optimiser
from space_cli.core.types import Prompt

Look = TypeVar("Look")
Adapters = dict[str, tuple[Tensor, Tensor]]
"""Layer -> (left [d_out, r], right [r, d_in]), which are trained."""


@dataclass(frozen=True)
class Course:
    """How a checkpoint is trained."""

    stops: tuple[int, ...]  # steps after which somebody looks, ascending; 0 is before the first
    rank: int = 8
    lr: float = 1e-3
    batch: int = 4


def relearn(
    responder: Responder,
    prompts: Sequence[Prompt],
    features: Tensor,
    course: Course,
    look: Callable[[], Look],
    *,
    seed: int,
) -> list[Look]:
    """Train adapters on every linear below the tower, and look at the checkpoint at each stop.

    Args:
        responder: Its weights are never written; the adapters live in hooks that are gone afterwards.
        prompts: What to learn; image prompts index `features`.
        features: Visual features [n, p, v].
        course: Budget.
        look: Called at each stop with the adapters in place.
        seed: Draws the adapters and the batches.

    Returns:
        What `look` returned, by stop.
    """
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    factors = adapters(linears(responder, prompts[0], features), course.rank, generator)
    optimiser = optimiser_of(factors, course.lr)
    found = []
    with editing(responder.model, factors):
        for step in range(course.stops[-1] + 1):
            if step in course.stops:
                with torch.no_grad():
                    found.append(look())
            if step < course.stops[-1]:
                teach(responder, rng.sample(list(prompts), min(course.batch, len(prompts))), features, optimiser)
    return found


def area(stops: Sequence[int], values: Sequence[float]) -> float:
    """Return the mean height of a curve over its steps, by trapezia.

    Example:
        >>> area([0, 10, 20], [0.0, 1.0, 1.0])
        0.75
    """
    width = stops[-1] - stops[0]
    pieces = zip(stops, stops[1:], values, values[1:], strict=False)
    return sum((end - start) * (low + high) / 2 for start, end, low, high in pieces) / width if width else values[-1]


def linears(responder: Responder, prompt: Prompt, features: Tensor) -> dict[str, nn.Linear]:
    """Return the linears that visual features pass on their way to an answer, but for the output head.

    Where features are what the tower returned, it is not among them.
    """
    seen: list[nn.Module] = []
    parts = {name: part for name, part in responder.model.named_modules() if isinstance(part, nn.Linear)}
    with torch.no_grad(), _noticing(list(parts.values()), seen):
        words = responder.answer_logits(responder.batch([replace(prompt, image=0)]), features[:1]).shape[-1]
    return {name: part for name, part in parts.items() if part in seen and part.out_features != words}


def adapters(parts: Mapping[str, nn.Linear], rank: int, generator: torch.Generator) -> Adapters:
    """Return trainable factors of each linear, at first without effect.

    Args:
        parts: By name.
        rank: Of each.
        generator: On the CPU, so that every device starts from the same numbers.
    """
    found: Adapters = {}
    for name, part in parts.items():
        device = part.weight.device
        right = torch.randn(rank, part.in_features, generator=generator) / part.in_features**0.5
        left = torch.zeros(part.out_features, rank)
        found[name] = (left.to(device).requires_grad_(True), right.to(device).requires_grad_(True))
    return found


def optimiser_of(factors: Adapters, lr: float) -> Optimiser:
    """Return what trains adapters."""
    return Optimiser([tensor for pair in factors.values() for tensor in pair], lr)


def teach(responder: Responder, prompts: Sequence[Prompt], features: Tensor, optimiser: Optimiser) -> None:
    """Take one step towards the answers of some prompts, as many a pass as fit, with adapters in place."""
    optimiser.zero_grad()
    for some in split_rows(responder, prompts, features):
        batch = responder.batch(some)
        told = answer_log_likelihood(responder.answer_logits(batch, features), batch)
        optimiser.backward(-told.sum() / len(prompts))
    optimiser.step()


def likelihoods(responder: Responder, prompts: Sequence[Prompt], features: Tensor) -> tuple[Tensor, ...]:
    """Return log p of each token of each prompt's answer, nats; differentiable in whatever is hooked in."""
    batch = responder.batch(prompts)
    return split(token_log_likelihood(responder.answer_logits(batch, features), batch), batch)


def split_rows(responder: Responder, prompts: Sequence[Prompt], features: Tensor) -> list[Sequence[Prompt]]:
    """Split prompts about an image each into as few parts as can be differentiated at once."""
    together = rows_at_once(responder.model, features.shape[1])
    return [prompts[start : start + together] for start in range(0, len(prompts), together)]


@contextmanager
def _noticing(parts: Sequence[nn.Module], seen: list[nn.Module]) -> Generator[None]:
    def notice(part: nn.Module, _: tuple[Tensor, ...]) -> None:
        seen.append(part)

    handles = [part.register_forward_pre_hook(notice) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
