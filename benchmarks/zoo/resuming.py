"""A training loop that a kill costs little: every step is a function of the seed and its number."""

import math
import time

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WARM = 0.06
"""Share of the steps over which the learning rate rises; then it falls along a cosine to nothing."""


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate."""

    parameters: Sequence[nn.Parameter]
    lr: float


@dataclass(frozen=True)
class Run:
    """How long, and where the state is kept."""

    steps: int
    state: Path
    every: float = 60.0  # seconds a kill may cost
    label: str = "step"


def optimise(groups: Sequence[Group], loss_at: Callable[[int], Tensor], run: Run, say: Callable[[str], None]) -> None:
    """Train parameters in place, from the last saved step on.

    Args:
        groups: What is trained.
        loss_at: The loss of a step; it must draw all that is random from the step's number.
        run: Steps and state file; the file stays, so that a later stage can begin from it.
        say: Told the loss now and then.
    """
    optimiser = torch.optim.AdamW(
        [{"params": list(group.parameters), "lr": group.lr} for group in groups], weight_decay=0.05, betas=(0.9, 0.98)
    )
    parameters = [parameter for group in groups for parameter in group.parameters]
    first = _load(run.state, parameters, optimiser) if run.state.is_file() else 0
    started = saved = time.monotonic()
    for step in range(first, run.steps):
        for group, own in zip(groups, optimiser.param_groups, strict=True):
            own["lr"] = group.lr * rate(step, run.steps)
        loss = loss_at(step)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        done = step + 1
        if done == run.steps or time.monotonic() - saved >= run.every:
            _save(run.state, parameters, optimiser, done)
            saved = time.monotonic()
        if step % 25 == 0 or done == run.steps:
            say(f"{run.label} {done}/{run.steps} loss {loss.item():.3f} {time.monotonic() - started:.0f} s")


def rate(step: int, steps: int) -> float:
    """Return the learning rate's share at a step.

    Example:
        >>> rate(0, 100) < rate(5, 100), round(rate(99, 100), 3)
        (True, 0.0)
    """
    warm = max(1, round(WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - warm) / max(1, steps - warm)))


def _save(path: Path, parameters: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer, step: int) -> None:
    kept = {"step": torch.tensor(step)}
    for row, parameter in enumerate(parameters):
        kept[f"{row}"] = parameter.detach().cpu().contiguous()
        for name, value in optimiser.state[parameter].items():
            kept[f"{row}.{name}"] = value.detach().cpu().contiguous()
    part = path.with_suffix(".part")
    save_file(kept, part, metadata={"format": "pt"})
    part.replace(path)


def _load(path: Path, parameters: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer) -> int:
    kept = load_file(path)
    with torch.no_grad():
        for row, parameter in enumerate(parameters):
            parameter.copy_(kept[f"{row}"])
            for name in ("step", "exp_avg", "exp_avg_sq"):
                if f"{row}.{name}" in kept:
                    place = "cpu" if name == "step" else parameter.device
                    optimiser.state[parameter][name] = kept[f"{row}.{name}"].to(place)
    return int(kept["step"])
