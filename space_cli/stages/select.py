"""Text-guided proxy anchor selection: from a pool and a name to images with roles."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torch import Tensor

from space_cli import __version__
from space_cli.core import phrasing, selection
from space_cli.core.anchor_bank import anchor_prompts
from space_cli.core.answer_form import AnswerForm, answer_form
from space_cli.core.context import EditContext
from space_cli.core.errors import GateRefusal, UsageFault
from space_cli.core.familiarity import familiarity
from space_cli.core.linalg import leverage, safe_basis
from space_cli.core.matching import mentions
from space_cli.core.naming import Naming
from space_cli.core.protocols import Progress
from space_cli.core.recipe import SelectRequest
from space_cli.core.records import AnchorsManifest, LayerLeverage
from space_cli.core.subspace import LEAK
from space_cli.core.types import Anchor
from space_cli.io.anchors import write_anchors
from space_cli.io.artifact import new_artifact, source_of
from space_cli.io.checkpoint import resolve
from space_cli.io.contact_sheet import write_contact_sheet
from space_cli.io.families import family_of
from space_cli.io.model import CheckpointResponder, open_model
from space_cli.io.pool import Pool, open_pool
from space_cli.io.pool_encoder import open_encoder
from space_cli.io.subject import Aim, image_features, subject_of

KNOWN_MARGIN = 5.0
"""Nats per token that a push towards the name must get beyond a push towards scrambled names: on the bundled checkpoint
ten known names got 8.3 to 13.1 beyond, six unknown ones at most 1."""
SHORTEST_DIGEST = 12
"""Hexadecimal digits that `--exclude` needs; the contact sheet shows as many."""
ACTIVE_MARGIN = 0.5
"""Nats per token below the reference that still count as active."""


def select(request: SelectRequest, out: Path, *, progress: Progress, overwrite: bool = False) -> AnchorsManifest:
    """Choose anchors for a concept and write them with a contact sheet.

    Args:
        request: Concept, pool and sizes; without a model, re-rank, leak guard and leverage wait for `erase`.
        out: Folder to write.
        progress: Where bars go.
        overwrite: Replace an anchors folder of ours.

    Returns:
        The manifest on disk.

    Raises:
        GateRefusal: The pool holds nothing near, or the checkpoint does not seem to know the concept.
    """
    # Digested before they are looked at, so that what is changed meanwhile is found.
    inputs = [source_of(Path(request.pool), "pool")]
    pool = open_pool(Path(request.pool))
    model_folder = resolve(request.model, request.revision) if request.model else None
    if model_folder:
        family_of(model_folder)
        progress.note("taking the digests of the checkpoint")
        inputs.append(source_of(model_folder, "checkpoint"))
    with new_artifact(out, request.model_dump_json(), overwrite=overwrite) as draft:
        similarities, floor = _similarities(pool, request)
        allowed = _allowed(pool, request)
        near = _candidates(request, allowed, similarities[allowed], floor)
        order = allowed[np.argsort(-similarities[allowed], kind="stable")]
        if model_folder:
            found = _with_model(model_folder, pool, request, similarities, (near, order), progress)
        else:
            found = _Found(_anchors(pool, request, similarities, (near, order), {}))
        write_anchors(draft.path, found.anchors)
        write_contact_sheet(draft.path, found.anchors, request.concept.name)
        record = AnchorsManifest(
            space_version=__version__,
            seed=request.seed,
            inputs=inputs,
            files=draft.files(),
            run=draft.run(),
            request=request,
            floor=floor,
            top_similarity=float(similarities.max()),
            roles={
                role: sum(a.role == role for a in found.anchors)
                for role in ("forget", "holdout", "neighbour", "general")
            },
            leaks=found.leaks,
            activation_rate=found.rate,
            activation_reference=found.reference,
            leverage=list(found.leverage),
        )
        draft.finish(record)
    return record


def plan(request: SelectRequest) -> dict[str, Any]:
    """Say what `select` would look at, from the pool's record alone."""
    pool = open_pool(Path(request.pool))
    return {
        "images": len(pool.items),
        "candidates": min(request.candidates, len(pool.items)),
        "model": request.model,
        "roles": {
            "forget": request.anchors, "holdout": request.holdout,
            "neighbour": request.neighbours, "general": request.general,
        },
    }  # fmt: skip


@dataclass(frozen=True)
class _Found:
    anchors: list[Anchor]
    leaks: int = 0
    rate: float | None = None
    reference: float | None = None
    leverage: Sequence[LayerLeverage] = ()


def _similarities(pool: Pool, request: SelectRequest) -> tuple[np.ndarray, float]:
    """Return the cosine of each pool image to the concept, and the floor that chance sets."""
    encoder = open_encoder(pool.manifest, "cpu")
    names = [template.format(name) for name in request.concept.names for template in selection.TEMPLATES]
    centre = encoder.texts(names).mean(0)
    direction = (centre / centre.norm()).numpy()
    words = [selection.TEMPLATES[1].format(word) for word in selection.CALIBRATION_WORDS]
    chance = pool.embeddings @ encoder.texts(words).numpy().T
    floor = selection.calibrated_floor(chance) if request.floor is None else request.floor
    return pool.embeddings @ direction, floor


def _allowed(pool: Pool, request: SelectRequest) -> np.ndarray:
    """Return the rows that no person excluded; the beginning of a digest excludes, too.

    Raises:
        UsageFault: An excluded digest is in no row of the pool, or too short to name one.
    """
    rejected: set[int] = set()
    for digest in request.exclude:
        rows = [row for row, item in enumerate(pool.items) if item.sha256.startswith(digest)]
        if len(digest) < SHORTEST_DIGEST or not rows:
            raise UsageFault(
                f"the excluded image `{digest}` is not in the pool: a digest of an item is needed",
                hint=f"pass `--exclude` {SHORTEST_DIGEST} digits or more of a `sha256` in the pool's `items.parquet`",
            )
        rejected.update(rows)
    return np.array([row for row in range(len(pool.items)) if row not in rejected], dtype=np.int64)


def _candidates(request: SelectRequest, allowed: np.ndarray, similarities: np.ndarray, floor: float) -> np.ndarray:
    """Return the rows to choose anchors from: the nearest first, or drawn from all that are allowed."""
    drawn = request.ranking == "random"
    # No cosine is below -1: where rows are drawn any will do, and a pool with too few is refused as ever.
    near = selection.candidates(
        similarities,
        floor=-1.0 if drawn else floor,
        count=len(allowed) if drawn else request.candidates,
        least=request.min_anchors,
    )
    rows: np.ndarray = allowed[near]
    return np.random.default_rng(request.seed).permutation(rows)[: request.candidates] if drawn else rows


def _anchors(
    pool: Pool,
    request: SelectRequest,
    similarities: np.ndarray,
    orders: tuple[np.ndarray, np.ndarray],
    activation: dict[int, float],
) -> list[Anchor]:
    """Diversify the best ranked candidates and give every image its role."""
    ranked, order = orders
    counts = selection.Counts(request.anchors, request.holdout, request.neighbours, request.general)
    wanted = counts.anchors + counts.holdout
    # A quarter more than wanted: room to drop near-duplicates, without spreading out to what is barely near.
    pooled = ranked[: wanted + wanted // 4]
    spread = selection.diversified(pool.embeddings[pooled], np.arange(len(pooled)), wanted)
    rows = selection.roles(pooled[spread], order, counts, request.seed)
    return [
        Anchor(pool.items[row], role, float(similarities[row]), activation.get(row))
        for role, chosen in rows.items()
        for row in chosen
    ]


def _with_model(
    folder: Path,
    pool: Pool,
    request: SelectRequest,
    similarities: np.ndarray,
    orders: tuple[np.ndarray, np.ndarray],
    progress: Progress,
) -> _Found:
    near, order = orders
    progress.note("loading the checkpoint")
    responder = open_model(folder, device=request.device)
    scores, leaking = _examined(responder, pool, request, near, progress)
    kept = [int(row) for row in near if request.allow_leaks or int(row) not in leaking]
    if request.ranking == "activation":
        kept.sort(key=lambda row: -scores[row])
    _require_enough(kept, leaking, request)
    clean = np.array([row for row in order if request.allow_leaks or int(row) not in leaking])
    anchors = _anchors(pool, request, similarities, (np.array(kept), clean), scores)
    aim = Aim(request.concept, request.scope, request.seed, max_change=1.0)
    context = subject_of(responder, anchors, aim, progress=progress)
    anchors, late = _guarded(anchors, context, request)
    reference = _reference(context)
    active = [a.activation for a in anchors if a.role == "forget" and a.activation is not None]
    return _Found(
        anchors=anchors,
        leaks=len(leaking) + late,
        rate=sum(a >= reference - ACTIVE_MARGIN for a in active) / max(len(active), 1),
        reference=reference,
        leverage=_leverage(context),
    )


def _examined(
    responder: CheckpointResponder, pool: Pool, request: SelectRequest, near: np.ndarray, progress: Progress
) -> tuple[dict[int, float], set[int]]:
    """Ask the checkpoint about every candidate: how active the concept is in it, and which it names as the concept.

    Raises:
        GateRefusal: It does not seem to know the concept.
    """
    stand_ins = [Anchor(pool.items[int(row)], "forget", 0.0, None) for row in near]
    features = image_features(responder, stand_ins, progress)
    answers: dict[str, list[str]] = {}
    with progress.task("ask about candidates", len(phrasing.ERASE_OPEN)) as advance:
        for question in phrasing.ERASE_OPEN:
            answers[question] = responder.answer_features(features, [question] * len(near))
            advance()
    forms = {question: answer_form(given) for question, given in answers.items()}
    leaking = selection.naming_rows(near, answers.values(), request.concept.names)
    # A checkpoint that calls a picture by the name knows the name; a push is needed only where no candidate shows it.
    if not leaking and not request.allow_unknown:
        progress.note("no candidate goes by the name: trying whether the checkpoint knows it")
        _require_known(responder, request, forms, features)
    activation = Naming(responder, request.concept, forms, request.seed).activation(features)
    return {int(row): float(a) for row, a in zip(near, activation, strict=True)}, leaking


def _require_known(
    responder: CheckpointResponder, request: SelectRequest, forms: dict[str, AnswerForm], features: Tensor
) -> None:
    found = familiarity(responder, request.concept, forms, features[:16], request.seed)
    if found.reached < found.nonsense + KNOWN_MARGIN:
        raise GateRefusal(
            f"the checkpoint does not seem to know `{request.concept.name}`: pushed towards the name it reaches "
            f"{found.reached:.2f} nats per token, towards scrambled names {found.nonsense:.2f}",
            hint="check the spelling, pass the model's own name for it with `--alias`, or insist: `--allow-unknown`",
            figures={"reached": found.reached, "nonsense": found.nonsense},
        )


def _require_enough(kept: Sequence[int], leaking: set[int], request: SelectRequest) -> None:
    if len(kept) < request.min_anchors:
        raise GateRefusal(
            f"the leak guard leaves {len(kept)} anchors, {request.min_anchors} are needed: the checkpoint names "
            f"{len(leaking)} candidates as `{request.concept.name}`",
            hint="index images that do not show the concept, or pass `--allow-leaks`",
            figures={"kept": len(kept), "needed": request.min_anchors, "leaks": len(leaking)},
        )


def _guarded(anchors: list[Anchor], context: EditContext, request: SelectRequest) -> tuple[list[Anchor], int]:
    """Drop retained images that the checkpoint names as the concept: retaining them would protect it."""
    if request.allow_leaks:
        return anchors, 0
    named = [mentions(prompt.answer, request.concept.names) for prompt in context.knowledge.own]
    clean = [anchor for anchor, leak in zip(anchors, named, strict=True) if not leak]
    return clean, len(anchors) - len(clean)


def _reference(context: EditContext) -> float:
    """Return the median log p of the checkpoint's own answers on neighbours: how active a known name is."""
    rows = set(context.rows["neighbour"])
    own = [p for p in context.knowledge.retained if p.image in rows and p.question in phrasing.ERASE_OPEN]
    if not own:
        return 0.0
    return float(context.responder.log_likelihood(context.responder.batch(own), context.features).median())


def _leverage(context: EditContext) -> list[LayerLeverage]:
    naming = Naming(context.responder, context.concept, context.knowledge.forms, context.seed)
    features = context.of_role("forget")
    moments = context.moments(anchor_prompts(naming, len(features)), features, label="anchor keys")
    found = []
    for layer in context.layers:
        basis = safe_basis(context.moment(layer), LEAK)
        share = leverage(moments[layer].mean(), basis)
        found.append(LayerLeverage(layer=layer, leverage=share, free=basis.shape[1], width=basis.shape[0]))
    return found
