"""What it saves to read once what prompts about one image begin with, on this machine.

    python -m benchmarks.shared_prefix [--model FOLDER] [--repeats 5] [--device auto]

Every figure is taken with sharing and without it in turn, in one process. Without `--model` the bundled checkpoint is
measured (36 visual tokens an image), and a small one with random weights and LLaVA-1.5's 576: its speed is real, its
answers are not.
"""

import argparse
import json
import tempfile

from pathlib import Path
from unittest.mock import patch

import torch

from PIL import Image
from torch import Tensor

from benchmarks.gpu.shapes import Shape, Tower, write_llava
from benchmarks.tables import machine
from benchmarks.turns import Work, times_as_fast
from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.core.answer_form import AnswerForm
from space_cli.core.naming import Naming
from space_cli.core.phrasing import AUDIT_OPEN, ERASE_OPEN, ERASE_YES_NO, IDENTITY_FREE
from space_cli.core.recipe import Concept
from space_cli.core.types import Prompt
from space_cli.io import model
from space_cli.io.devices import pick_device
from space_cli.io.model import CheckpointResponder, open_model

ANCHORS = 8
"""In a step of `dcsi`."""
NAMED = 32
"""Images whose activation is asked for, as `select` does of its candidates."""
ASKED = 16
"""Images that an audit asks every open question about."""
TOKENS = 24
SMALL = Shape(
    "small, 576 visual tokens", words=448, hidden=256, inner=688, blocks=4, heads=4,
    tower=Tower(32, 64, 3, 4, side=336, patch=14, width=32, text_blocks=1, text_heads=2), images=0, roles={},
)  # fmt: skip


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="Folder of a LLaVA checkpoint")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = pick_device(options.device)
    with tempfile.TemporaryDirectory() as place:
        folders = {str(options.model): options.model} if options.model else {"bundled": checkpoint_folder()}
        if not options.model:
            folders[SMALL.name] = Path(place) / "small"
            write_llava(SMALL, folders[SMALL.name], device)
        found = {name: measure(open_model(folder, device=device), options.repeats) for name, folder in folders.items()}
    print(json.dumps({"checkpoints": found, "device": device, "machine": machine()}, indent=2))


def measure(responder: CheckpointResponder, repeats: int) -> dict[str, object]:
    """Time each kind of work with and without sharing, in turn."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (max(ANCHORS, NAMED, ASKED), 32, 32, 3), generator=generator, dtype=torch.uint8)
    features = responder.features([Image.fromarray(one.numpy()).resize((336, 336)) for one in pixels])
    works: dict[str, Work] = {
        "a step's questions about its anchors, there and back": lambda: _step(responder, features[:ANCHORS]),
        "activation of candidates": lambda: _activation(responder, features[:NAMED]),
        "answers to every open question": lambda: _answers(responder, features[:ASKED]),
    }
    return {
        what: times_as_fast(what, work, lambda: patch.object(model, "common_opening", return_value=None), repeats)
        for what, work in works.items()
    }


def _step(responder: CheckpointResponder, features: Tensor) -> None:
    shown = features.clone().requires_grad_(True)
    questions = [*ERASE_OPEN[:4], ERASE_YES_NO[0].format(phrase="an owl"), *IDENTITY_FREE]
    prompts = [Prompt(q, "This is an owl.", row) for q in questions for row in range(len(shown))]
    responder.answer_logits(responder.batch(prompts), shown).float().logsumexp(-1).sum().backward()


def _activation(responder: CheckpointResponder, features: Tensor) -> Tensor:
    forms = {question: AnswerForm("This is", ".") for question in ERASE_OPEN}
    return Naming(responder, Concept(name="owl", phrase="an owl"), forms, 0).activation(features)


def _answers(responder: CheckpointResponder, features: Tensor) -> list[str]:
    about = [row for row in range(len(features)) for _ in AUDIT_OPEN]
    return responder.answer_features(features, list(AUDIT_OPEN) * len(features), about=about, tokens=TOKENS)


if __name__ == "__main__":
    main()
