"""What it saves an erasure to work out nothing that nobody reads, on this machine.

    python -m benchmarks.shortcuts [--model FOLDER] [--repeats 5] [--device auto]
    python -m benchmarks.shortcuts --products NAME [--subject bundled|NAME=FOLDER]

Every figure is taken with the shortcut and without it in turn, in one process: a change of a weight is added to it
(`core/hooks.py`), the last block's MLP sees what is read (`io/last_block.py`), a decoder is left where its hidden
states are wanted (`core/latent.py`), and answers that are there to be read are read rather than given again
(`core/budget.py`). Without `--model` the bundled checkpoint is measured.

With `--products` whole erasures of a concept are counted in products of matrices, which no other work on the machine
changes: ours with and without all of these, and `siu` beside them, each with its defaults.
"""

import argparse
import json
import sys

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.league.bench import opened
from benchmarks.league.entries import OURS, entries
from benchmarks.league.subjects import Job, open_subjects
from benchmarks.tables import machine
from benchmarks.turns import Work, times_as_fast
from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.core import budget, hooks
from space_cli.core.answer_form import AnswerForm
from space_cli.core.hardening import Hardening, harden
from space_cli.core.hooks import editing, fixed
from space_cli.core.naming import Naming
from space_cli.core.phrasing import ERASE_OPEN, IDENTITY_FREE
from space_cli.core.recipe import Concept
from space_cli.core.types import Prompt
from space_cli.io import model
from space_cli.io.devices import pick_device
from space_cli.io.model import CheckpointResponder, open_model

RANK, STEP = 64, 8
"""Of `dcsi`: directions a layer, anchors in a step."""
IMAGES = 64
"""Whose names are asked."""
PUSH = Hardening(steps=4)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="Folder of a LLaVA checkpoint")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--products", metavar="NAME", help="Count whole erasures of this concept")
    parser.add_argument("--subject", default="bundled", help="Which knows it: `bundled`, or NAME=FOLDER of the zoo")
    options = parser.parse_args()
    if options.products:
        print(json.dumps(products(options.subject, options.products) | {"machine": machine()}, indent=2))
        return
    device = pick_device(options.device)
    found = measure(open_model(options.model or checkpoint_folder(), device=device), options.repeats)
    named = str(options.model or "bundled")
    print(json.dumps({"checkpoint": named, "work": found, "device": device, "machine": machine()}, indent=2))


def measure(responder: CheckpointResponder, repeats: int) -> dict[str, object]:
    """Time each kind of work with and without its shortcuts, in turn."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (IMAGES, 32, 32, 3), generator=generator, dtype=torch.uint8)
    features = responder.features([Image.fromarray(one.numpy()).resize((336, 336)) for one in pixels])
    change = _factors(responder, generator)
    forms = {question: AnswerForm("This is", ".") for question in ERASE_OPEN}
    naming = Naming(responder, Concept(name="owl", phrase="an owl"), forms, 0)
    asked: Any = _erasure(responder, features, forms)
    middle = max(1, responder.model.config.get_text_config().num_hidden_layers // 2)
    works: dict[str, tuple[Work, Any]] = {
        "a step's questions about its anchors, there and back": (
            lambda: _step(responder, features[:STEP], change),
            _without_shortcuts,
        ),
        "a push of as many anchors": (lambda: _push(responder, naming, features[:STEP], change), _without_shortcuts),
        "hidden states at half the depth": (
            lambda: responder.hidden(responder.batch([Prompt(ERASE_OPEN[0], "", 0)]), features, middle),
            lambda: patch.object(model, "entering", _to_the_end),
        ),
        "which names were lost, of none": (
            lambda: budget.lost_names(asked, {}),
            lambda: patch.object(budget, "_said_again", return_value=set()),
        ),
    }
    return {what: times_as_fast(what, work, without, repeats) for what, (work, without) in works.items()}


def products(subject: str, name: str) -> dict[str, object]:
    """Count the products of training and of its weighing, in billions of multiplications and additions."""
    (found,) = open_subjects([subject], [], [])
    concepts = {one.name: one for one in (*found.developments, *found.tests)}
    if name not in concepts:
        sys.exit(f"error: `{found.name}` has no concept `{name}`\nhint: one of {', '.join(sorted(concepts))}")
    job, known, counts = Job(found, concepts[name], 0), entries(), {}
    with opened(known["siu"], job):  # what is the same for all is worked out here, uncounted
        pass
    for what, entry, way in (
        ("siu", known["siu"], nullcontext),
        (OURS, known[OURS], nullcontext),
        (f"{OURS}, without the shortcuts", known[OURS], _without_any),
    ):
        with way(), FlopCounterMode(display=False) as counter, opened(entry, job):
            pass
        counts[what] = round(counter.get_total_flops() / 1e9, 1)
        print(f"{what}: {counts[what]}", file=sys.stderr)
    return {"subject": found.name, "checkpoint": found.digest, "concept": name, "billions": counts}


def _factors(responder: CheckpointResponder, generator: torch.Generator) -> dict[str, hooks.Change]:
    """Return a small change of the layers that `dcsi` edits, as it trains them."""
    found: dict[str, hooks.Change] = {}
    for layer in responder.family.layers("mlp"):
        weight = responder.model.get_parameter(f"{layer}.weight")
        left = torch.randn(len(weight), RANK, generator=generator) * 1e-3
        right = torch.randn(RANK, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5
        found[layer] = (left.to(weight.device).requires_grad_(True), right.to(weight.device))
    return found


def _step(responder: CheckpointResponder, features: Tensor, change: dict[str, hooks.Change]) -> None:
    prompts = [Prompt(q, "This is an owl.", row) for q in (*ERASE_OPEN, *IDENTITY_FREE) for row in range(len(features))]
    with editing(responder.model, change):
        logits = responder.answer_logits(responder.batch(prompts), features)
    logits.float().logsumexp(-1).sum().backward()


def _push(responder: CheckpointResponder, naming: Naming, features: Tensor, change: dict[str, hooks.Change]) -> None:
    naming.reseed(0)
    with editing(responder.model, fixed(change)):
        harden(naming.objective, features, PUSH, torch.Generator().manual_seed(0))


def _erasure(responder: CheckpointResponder, features: Tensor, forms: dict[str, AnswerForm]) -> SimpleNamespace:
    """Return what `lost_names` reads of an erasure: every image, with what is said of it."""
    answers = responder.answer_features(features, [ERASE_OPEN[0]] * len(features))
    return SimpleNamespace(
        responder=responder,
        features=features,
        sure_neighbours=[Prompt(ERASE_OPEN[0], answer, row) for row, answer in enumerate(answers)],
        knowledge=SimpleNamespace(forms=forms),
        edited=lambda change: editing(responder.model, change),
    )


@contextmanager
def _without_shortcuts() -> Generator[None]:
    with patch.object(hooks, "LARGE", 0), patch.object(model, "read_only_at", lambda *_: nullcontext()):
        yield


@contextmanager
def _without_any() -> Generator[None]:
    with (
        _without_shortcuts(),
        patch.object(model, "entering", _to_the_end),
        patch.object(budget, "_said_again", return_value=set()),
    ):
        yield


@contextmanager
def _to_the_end(decoder: nn.Module, layer: int) -> Generator[list[Tensor]]:
    """Do as `latent.entering` does, and let the decoder go on."""
    seen: list[Tensor] = []
    blocks: Any = decoder.layers
    hook = blocks[layer].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


if __name__ == "__main__":
    main()
