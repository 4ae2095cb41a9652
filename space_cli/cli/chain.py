"""What must run before an erasure: the missing and the stale stages, and why."""

import importlib
import os
import re

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from space_cli.cli.options import DEFAULT_ENCODER
from space_cli.cli.render import Terminal
from space_cli.cli.workspace import Workspace, is_complete, require, stale_anchors
from space_cli.core import registry
from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.core.plugin_options import fitted
from space_cli.core.recipe import Concept, EraseRequest, IndexRequest, SelectRequest
from space_cli.core.records import AnchorsManifest
from space_cli.io.artifact import RECORD_NAME

HIDDEN = frozenset("\u00ad\u200b\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Soft hyphens, spaces without a width, and marks that turn the text around them: a checkpoint reads them in a name,
and whoever reads a report does not. The joiners of emoji and of some scripts belong to a name."""
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class Wish:
    """What `erase` was told about the stages before it."""

    pool: str | None = None  # a finished pool, or images to index
    encoder: str = DEFAULT_ENCODER
    exclude: tuple[str, ...] = ()
    allow_leaks: bool = False


def ensure_anchors(
    place: Workspace,
    request: EraseRequest,
    wish: Wish,
    model: Path,
    terminal: Terminal,
    *,
    overwrite: bool = False,
) -> None:
    """Run `index` and `select` where the workspace lacks fresh anchors for this erasure."""
    ensure_pool(place, request, wish, terminal, overwrite=overwrite)
    recorded = recorded_anchors(place)
    pool = pool_of(place, request, wish, recorded)
    reason = why_select(recorded, request, wish, pool=pool, model=model)
    refuse_unfit(place, reason)
    if not reason:
        terminal.note(f"select: anchors for `{request.concept.name}` are there already")
        return
    from space_cli.stages.select import select

    terminal.note(f"select: {reason}")
    select(select_request(recorded, request, wish, pool), place.anchors, progress=terminal, overwrite=True)


def refuse_unfit(place: Workspace, reason: str) -> None:
    """Refuse chosen anchors that cannot serve: what a person looked at is not selected anew.

    Args:
        place: With the chosen anchors, or without any.
        reason: Of `why_select`.

    Raises:
        UsageFault: They cannot.
    """
    if place.chosen and reason:
        raise UsageFault(
            f"the anchors in `{place.chosen}` cannot serve: {reason}",
            hint="select them again with `space select … --out`, or leave `--anchors` out",
        )


def ensure_pool(
    place: Workspace, request: EraseRequest, wish: Wish, terminal: Terminal, *, overwrite: bool = False
) -> None:
    """Run `index` where `--pool` names images."""
    indexing = index_request(wish, request)
    if indexing is not None:
        from space_cli.stages.index import index

        terminal.note(f"index: {indexing.sources[0]}")
        index(indexing, place.pool, progress=terminal, overwrite=overwrite)


def check_inputs(place: Workspace, request: EraseRequest, wish: Wish) -> None:
    """Check what needs no checkpoint: device, method, its options and images, and that anchors can be had."""
    check_device(request.device)
    check_method(request.method, request.options)
    check_images(request.method, request.options, request.forget_images)
    recorded = recorded_anchors(place)
    if index_request(wish, request) is None and recorded is None:
        select_request(recorded, request, wish, pool_of(place, request, wish, recorded))


def index_request(wish: Wish, request: EraseRequest) -> IndexRequest | None:
    """Return what to index, or None where `--pool` is a finished pool or was not given."""
    if wish.pool is None or is_finished(wish.pool):
        return None
    return IndexRequest(
        sources=(existing_source(wish.pool),), encoder=wish.encoder, device=request.device, seed=request.seed
    )


def recorded_anchors(place: Workspace) -> AnchorsManifest | None:
    """Return the record of the workspace's anchors, or None where there are none."""
    if not (place.anchors / RECORD_NAME).is_file():
        return None
    record = require(place.anchors, "anchors")
    assert isinstance(record, AnchorsManifest), "require() checks the kind"
    return record


def pool_of(place: Workspace, request: EraseRequest, wish: Wish, recorded: AnchorsManifest | None) -> Path | None:
    """Return the finished pool to select from: the given one, the anchors' own, or the workspace's."""
    if wish.pool is not None:
        given = Path(wish.pool).expanduser().absolute()
        return given if is_finished(wish.pool) and require(given, "pool") else place.pool
    if recorded is not None and recorded.request.concept.name == request.concept.name:
        own = Path(recorded.request.pool)
        if is_complete(own, "pool"):
            return own
    return place.pool if is_complete(place.pool, "pool") else None


def why_select(
    recorded: AnchorsManifest | None, request: EraseRequest, wish: Wish, *, pool: Path | None, model: Path
) -> str:
    """Say why `select` must run first, or "" where its result is fresh."""
    if recorded is None:
        return f"no anchors for `{request.concept.name}` yet"
    if set(wish.exclude) - set(recorded.request.exclude):
        return "more images are excluded than before"
    if wish.allow_leaks and not recorded.request.allow_leaks:
        return "leaks are allowed now"
    return stale_anchors(recorded, request.concept, pool=pool, model=model)


def select_request(
    recorded: AnchorsManifest | None, request: EraseRequest, wish: Wish, pool: Path | None
) -> SelectRequest:
    """Return the selection an erasure needs, keeping what a person chose for the same concept before.

    Raises:
        ArtifactFault: There is no pool to select from.
    """
    if pool is None:
        hint = "space index ./pool, or pass `--pool` with a folder of images"
        raise ArtifactFault("no finished pool to select anchors from", hint=hint)
    same = recorded is not None and recorded.request.concept.name == request.concept.name
    kept = recorded.request.model_dump() if recorded is not None and same else {}
    kept |= {
        "concept": request.concept,
        "pool": str(pool),
        "model": request.model,
        "revision": request.revision,
        "exclude": tuple(dict.fromkeys((*kept.get("exclude", ()), *wish.exclude))),
        "allow_leaks": wish.allow_leaks or kept.get("allow_leaks", False),
        "scope": request.scope,
        "device": request.device,
        "seed": request.seed,
    }
    return SelectRequest.model_validate(kept)


def make_concept(name: str, aliases: list[str] | None, phrase: str, kind: str | None) -> Concept:
    """Return the concept a person named, refusing bytes that are no text.

    Raises:
        UsageFault: A word is not valid UTF-8.
    """
    for word in (name, phrase, kind or "", *(aliases or ())):
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageFault(
                "the concept is not valid UTF-8 text", hint="set the terminal, or the script that names it, to UTF-8"
            ) from None
    for given in (name, phrase, *(aliases or ())):
        if hidden := sorted(HIDDEN & set(given)):
            told = ", ".join(f"U+{ord(one):04X}" for one in hidden)
            raise UsageFault(
                f"the name {given!a} holds what does not show: {told}", hint="type it instead of pasting it"
            )
    return Concept(name=name, aliases=tuple(aliases or ()), phrase=phrase, kind=kind)


def is_finished(folder: str) -> bool:
    """Return whether a path names a folder that a stage finished, rather than images."""
    return os.path.isfile(os.path.join(os.path.expanduser(folder), RECORD_NAME))


def existing_source(source: str) -> str:
    """Return an image source as an absolute path.

    Raises:
        UsageFault: Nothing is there.
    """
    path = os.path.abspath(os.path.expanduser(source))
    if not os.path.exists(path):
        raise UsageFault(
            f"`{source}` does not exist: a folder, tar or parquet file of images is needed",
            hint="check the path: a relative one begins in the current folder",
        )
    return path


def check_device(device: str) -> None:
    """Refuse a device that cannot be, before anything is loaded.

    Raises:
        UsageFault: It is not a device name.
        EnvironmentFault: It is not on this machine.
    """
    if not DEVICE.fullmatch(device):
        raise UsageFault(
            f"unknown device `{device}`: known are auto, cpu, cuda and cuda:N",
            hint="pass `--device auto`; `space doctor` says which devices are here",
        )
    if not device.startswith("cuda"):
        return
    import torch

    number = int(device.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise EnvironmentFault(f"no device `{device}` here: {found} CUDA devices found", hint="space doctor")


def check_method(method: str, options: dict[str, Any]) -> None:
    """Refuse an unknown method, or options that it does not have.

    Raises:
        UsageFault: There is no such method or option, or a value does not fit.
    """
    fitted(registry.load("methods", method).Options, options, f"the method `{method}`")


def needs_images(method: str, options: dict[str, Any]) -> bool:
    """Tell whether a method, with these options, trains on images of the concept."""
    from space_cli.core import forget_set

    module = registry.load("methods", method)
    return forget_set.needs_images(module, module.Options.model_validate(options))


def check_images(method: str, options: dict[str, Any], folder: str | None) -> None:
    """Refuse a method that lacks the images it trains on, or images that it would not look at.

    Raises:
        UsageFault: Either is so, or the folder holds no image.
    """
    from space_cli.core import forget_set
    from space_cli.io import sources

    module = registry.load("methods", method)
    forget_set.check_images(method, module, module.Options.model_validate(options), folder)
    if folder is None:
        return
    hint = "give a folder of PNG, JPEG, WebP, GIF or BMP files"
    if not os.path.isdir(folder):
        raise UsageFault(f"`{folder}` is not a folder of images", hint=hint)
    if sources.count(folder) == 0:
        raise UsageFault(f"`{folder}` holds no image", hint=hint)


def check_model(model: str, revision: str | None, scope: str) -> Path:
    """Find the checkpoint and read its headers: files, keys, shapes, dtypes and family, no weight.

    Returns:
        Its folder on this machine.

    Raises:
        ArtifactFault: It is no checkpoint that could be edited.
    """
    from space_cli.io.checkpoint import open_checkpoint, refuse_foreign_links, resolve
    from space_cli.io.editable import editable_parameters
    from space_cli.io.families import family_of

    folder = resolve(model, revision)
    checkpoint = open_checkpoint(folder)
    refuse_foreign_links(checkpoint)
    editable_parameters(checkpoint, family_of(folder), scope)
    return folder


def plan(stage: str, request: BaseModel) -> dict[str, Any]:
    """Return what a stage would do, from headers alone; the request itself where it plans nothing more."""
    module = importlib.import_module(f"space_cli.stages.{stage}")
    planner = getattr(module, "plan", None)
    return planner(request) if planner is not None else request.model_dump(mode="json")
