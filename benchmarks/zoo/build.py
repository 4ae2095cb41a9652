"""From a folder of photographs to a checkpoint and its encoder, stage by stage, each kept in a work folder."""

import hashlib
import json
import shutil
import time

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from tokenizers import Tokenizer
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel
from transformers.utils import logging as transformers_logging

from benchmarks.datasets import open_dataset
from benchmarks.weights import digest_of
from benchmarks.zoo import figures, speaking, tower
from benchmarks.zoo.classes import KINDS, Lesson, lessons
from benchmarks.zoo.lessons import fit_tokenizer
from benchmarks.zoo.photographs import Photographs, held_out, open_picture, read_photographs
from benchmarks.zoo.pretrained import MEAN, STD
from benchmarks.zoo.teacher import teacher_targets
from space_cli.core.errors import UsageFault
from space_cli.core.phrasing import TEXT_HOME_QUESTION, TEXT_KIND_QUESTION
from space_cli.core.recipe import spoken_form
from space_cli.io.devices import pick_device
from training import language
from training.publishing import publish
from training.skills import with_ends

TEACHERS = ("efficientnet-lite0", "none")
TOWERS = ("dinov2", "fresh")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides which weights come out."""

    data: str
    kinds: str | None = None
    others: tuple[str, ...] = ()  # folders of photographs that are of no class
    tower: str = "dinov2"
    teacher: str = "efficientnet-lite0"
    side: int = 112  # pixels; 64 visual tokens
    batch: int = 64
    tower_steps: int = 400
    language_steps: int = 2000
    seed: int = 0
    pinned: bool = False  # to instructions and an order that other processors share (`pinned.py`)


@dataclass(frozen=True)
class Places:
    """Where things are kept and who is told."""

    work: Path
    out: Path
    device: str = "auto"
    measured: int = 12  # held-out photographs of each class at most
    say: Callable[[str], None] = field(default=lambda line: None)


def build(recipe: Recipe, places: Places) -> dict[str, Any]:
    """Make the checkpoint, going on from whatever an earlier run of the same recipe left in the work folder.

    Returns:
        What it recognises, as written to `figures.json`.

    Raises:
        UsageFault: The data, the kinds or the recipe cannot be used, the work folder is of another recipe, or `out`
            holds something else than a checkpoint of the zoo.
        EnvironmentFault: A package of the recipe is not installed.
    """
    started = time.monotonic()
    transformers_logging.disable_progress_bar()
    kinds = Path(recipe.kinds) if recipe.kinds else None
    taught = lessons(open_dataset("folder", Path(recipe.data), seed=recipe.seed), kinds)
    _claim(places, recipe, taught)
    device = torch.device(pick_device(places.device))
    places.say(f"{len(taught)} concepts, {sum(len(each.train) for each in taught)} photographs to train with")
    others = [Path(other) for other in recipe.others]
    photographs = read_photographs(taught, others, places.work / "photographs.safetensors")
    tokenizer = _tokenizer(places.work / "tokenizer.json", taught, recipe.seed)
    encoder = _encoder(recipe, places, photographs, taught, tokenizer, device)
    made = places.out.with_name(f"{places.out.name}.part")
    _llava(recipe, places, photographs, taught, tokenizer, encoder, device, made)
    told = _measured(recipe, places, taught, made)
    told["weights"] = digest_of(made / "llava")
    told["seconds of this run"] = round(time.monotonic() - started)
    (made / "figures.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if kinds:
        # The recipe holds a path, which may not outlive the checkout that it lies in.
        shutil.copyfile(kinds, made / KINDS)
    (made / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n", encoding="utf-8")
    (made / "concepts.toml").write_text(_notes(taught), encoding="utf-8")
    shutil.rmtree(places.out, ignore_errors=True)
    made.rename(places.out)
    return told


def image_processor(side: int) -> CLIPImageProcessorPil:
    """Return the preprocessing of the tower."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side},
        image_mean=list(MEAN), image_std=list(STD),
    )  # fmt: skip


def _claim(places: Places, recipe: Recipe, taught: Sequence[Lesson]) -> None:
    """Note whose work this is, so that no stage goes on from another recipe's, and that `out` may be replaced."""
    if places.out.exists() and not (places.out / "recipe.json").is_file():
        raise UsageFault(f"`{places.out}` exists and is no checkpoint of the zoo", hint="give another `--out`")
    # The same paths may hold other photographs or kinds by now.
    lists = hashlib.sha256(repr(taught).encode()).hexdigest()
    wanted = json.dumps(asdict(recipe) | {"lessons": lists}, indent=2) + "\n"
    path = places.work / "recipe.json"
    if path.is_file() and path.read_text(encoding="utf-8") != wanted:
        raise UsageFault(
            f"`{places.work}` holds the work of another recipe, or the photographs or kinds have changed",
            hint="give another `--work`, or remove the folder",
        )
    places.work.mkdir(parents=True, exist_ok=True)
    path.write_text(wanted, encoding="utf-8")


def _tokenizer(path: Path, taught: Sequence[Lesson], seed: int) -> Tokenizer:
    if not path.is_file():
        fit_tokenizer([lesson.concept for lesson in taught], seed).save(str(path))
    return Tokenizer.from_file(str(path))


def _encoder(
    recipe: Recipe,
    places: Places,
    photographs: Photographs,
    taught: Sequence[Lesson],
    tokenizer: Tokenizer,
    device: torch.device,
) -> CLIPModel:
    folder = places.work / "encoder"
    if not (folder / "done").is_file():
        model = tower.build(recipe.tower, tokenizer, recipe.side, recipe.seed).to(device)
        targets: Tensor | None = None
        if recipe.teacher != "none":
            places.say("asking the teacher")
            targets = teacher_targets(photographs, places.work / "teacher.safetensors", device)
        plan = tower.Plan(recipe.tower_steps, recipe.batch, recipe.seed)
        state = places.work / "tower.safetensors"
        tower.train(model, photographs, taught, tokenizer, targets, plan=plan, state=state, say=places.say)
        model.save_pretrained(folder)
        (folder / "done").touch()
    return CLIPModel.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


def _llava(
    recipe: Recipe,
    places: Places,
    photographs: Photographs,
    taught: Sequence[Lesson],
    tokenizer: Tokenizer,
    encoder: CLIPModel,
    device: torch.device,
    made: Path,
) -> None:
    torch.manual_seed(recipe.seed)
    processor = image_processor(recipe.side)
    responder = language.build(encoder, with_ends(tokenizer, end=False), processor)
    responder.model.to(device).eval()
    places.say("computing the tower's patches")
    features = speaking.cached_features(responder, photographs, recipe.seed, places.work / "features.safetensors")
    plan = speaking.Plan(recipe.language_steps, recipe.batch, recipe.seed)
    state = places.work / "language.safetensors"
    known = [lesson.concept for lesson in taught]
    speaking.train(responder, photographs, features, known, plan=plan, state=state, say=places.say)
    publish(responder.model.cpu(), encoder, tokenizer, processor, made)


def _measured(recipe: Recipe, places: Places, taught: Sequence[Lesson], made: Path) -> dict[str, Any]:
    places.say("measuring on held-out photographs")
    drawn = held_out(taught, places.measured, recipe.seed)
    pictures = {taught[row].concept: [open_picture(path) for path in paths] for row, paths in drawn.items()}
    return figures.measure(made, pictures, device=places.device)


def _notes(taught: Sequence[Lesson]) -> str:
    """Return what an auditor may know about the concepts, as `space audit` reads it beside its pictures."""
    tables = []
    for concept in (lesson.concept for lesson in taught):
        facts = [
            [TEXT_KIND_QUESTION.format(phrase=concept.phrase), spoken_form(concept.kind)],
            [TEXT_HOME_QUESTION.format(phrase=concept.phrase), concept.home],
        ]
        # JSON strings and arrays of strings are TOML, too.
        tables.append(
            f"[{json.dumps(concept.name)}]\nphrase = {json.dumps(concept.phrase)}\n"
            f"kind = {json.dumps(concept.kind)}\nfacts = {json.dumps(facts)}\n"
        )
    return "\n".join(tables)
