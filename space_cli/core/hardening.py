"""Gradient ascent of log p(concept) on proxies' visual features.

A proxy that text retrieval finds leaves the concept's own representation silent: training on it changes something
else. Pushing its features until the model names the concept wakes that representation without any image of it.

Shapes: n = proxies, p = visual tokens, v = width of the features.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from jaxtyping import Float
from torch import Tensor

from space_cli.core.scaling import LossScale

Objective = Callable[[Tensor], Tensor]
"""Visual features [n, p, v] -> log p of the concept for each proxy, [n], nats per token."""


@dataclass(frozen=True)
class Hardening:
    """How far and how hard to push.

    The defaults were chosen on the development concepts of the bundled checkpoint (docs/benchmarks/development.md).
    """

    steps: int = 24
    radius: float = 0.9  # of a proxy's root mean square token norm; the shift of each token stays within it
    pace: float = 0.12  # length of one normalised step, in units of the radius
    share: float = 0.0  # of a step, that all tokens of a proxy take together; the rest is each token's own
    dropout: float = 0.2  # share of visual tokens whose shift is left out in a step
    noise: float = 0.05  # gaussian, in units of the features' root mean square


def harden(
    objective: Objective,
    features: Float[Tensor, "n p v"],
    options: Hardening,
    generator: torch.Generator,
    *,
    start: Float[Tensor, "n p v"] | None = None,
) -> Float[Tensor, "n p v"]:
    """Return features near the given ones on which the objective is high.

    Args:
        objective: Called once a step; draws its own prompts.
        features: The proxies as the tower sees them.
        options: Budget and regularisation.
        generator: Noise and token dropout, on the CPU.
        start: An earlier hardening of the same proxies to continue from.

    Returns:
        Shifted features, in single precision whatever the proxies are in and however many steps are taken; no token is
        further than `radius` from its own.
    """
    size = features.float().pow(2).sum(-1).mean(-1).sqrt()[:, None, None]
    limit = options.radius * size
    spread = features.float().pow(2).mean().sqrt()
    shift = (torch.zeros_like(features) if start is None else start - features).to(size, copy=True)
    scale = LossScale()
    for _ in range(options.steps):
        kept = torch.rand(features.shape[:2], generator=generator) >= options.dropout
        noise = torch.randn(features.shape, generator=generator) * options.noise
        shift = shift.detach().requires_grad_(True)
        seen = features + shift * kept[..., None].to(features) + noise.to(features) * spread
        gradient = scale.gradient(objective(seen).sum(), shift)
        shift = _within(shift.detach() + options.pace * limit * _direction(gradient, options.share), limit)
    return (features + shift).detach()


def _direction(gradient: Float[Tensor, "n p v"], share: float) -> Float[Tensor, "n p v"]:
    """Return the step: where each token's own gradient goes, and where the mean of all tokens of the proxy goes.

    What a picture shows is told by all its tokens at once, so the way to another thing has a part that they share. It
    leads nearer to pictures of the concept than each token's own way (docs/benchmarks/development.md).
    """
    # One length for every token of a proxy, so that the tokens which matter move most.
    own: Tensor = gradient / gradient.norm(dim=-1, keepdim=True).amax(1, keepdim=True).clamp(min=1e-12)
    mean = gradient.mean(1, keepdim=True)
    common: Tensor = mean / mean.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return (1 - share) * own + share * common


def _within(shift: Tensor, limit: Tensor) -> Tensor:
    norm: Tensor = shift.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return shift * (limit / norm).clamp(max=1)
