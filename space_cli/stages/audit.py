"""Audit: ask the checkpoint before and after erasing, on pictures erasing never saw, and judge by a policy.

`images` holds one sub-folder of pictures per concept, the erased one among them. A `concepts.toml` beside
them may say what is known about each, one table a concept; every key may be left out:

    ["grand piano"]
    phrase = "a grand piano"
    kind = "instrument"
    aliases = ["concert grand"]
    facts = [["Where would you find a grand piano?", "concert hall"]]
"""

import os

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from space_cli import __version__
from space_cli.core.budgets import check_budgets
from space_cli.core.comparing import with_differences
from space_cli.core.errors import AS_WRITTEN, ArtifactFault, NetworkFault
from space_cli.core.examining import Found, assault, attacks_of, every_score, measure, metrics_of
from space_cli.core.judging import judged
from space_cli.core.masking import masked, untraced
from space_cli.core.nearness import nearest_first, text_embeddings
from space_cli.core.overlap import refuse_anchors, unseen_gate
from space_cli.core.probing import build_probe, described, other_names, phrases_of, split_images
from space_cli.core.protocols import Progress
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.core.records import (
    AuditReport,
    ErasureReceipt,
    GateRecord,
    PoolManifest,
    ScoreRecord,
    Source,
    SourceKind,
)
from space_cli.core.remembering import Remembering
from space_cli.core.types import Probe, ProbeImage
from space_cli.io.artifact import new_artifact, source_of
from space_cli.io.checkpoint import check_recorded, open_checkpoint
from space_cli.io.comparison import open_baseline, unknown_images
from space_cli.io.devices import pick_device
from space_cli.io.erased import open_erased
from space_cli.io.history import open_history, refuse_other_anchors, same_history
from space_cli.io.identity import identify, refuse_telling
from space_cli.io.model import CheckpointResponder, open_model
from space_cli.io.pool_encoder import open_encoder
from space_cli.io.probe import Material, at_hand, open_material, open_notes, open_policy, open_training
from space_cli.io.probe_images import probe_images
from space_cli.io.towers import both_remembering
from space_cli.reports._folder import write_documents
from space_cli.reports._sampling import pseudonymized, samples
from space_cli.reports.html import Evidence, Sample
from space_cli.stages.made_of import refuse_not_made_of


def audit(
    request: AuditRequest, out: Path, *, progress: Progress, overwrite: bool = False, key: bytes | None = None
) -> AuditReport:
    """Measure an erasure and write the report, whatever its verdict.

    Args:
        request: What to audit, on which pictures, by which policy.
        out: The `audit/` folder to write.
        progress: Where to say how far it is.
        overwrite: Replace a report that is there.
        key: For the pseudonym, where the report must not name the concept.

    Returns:
        The report as it stands in `space.json`; its `verdict` decides the exit code.

    Raises:
        UsageFault: The policy, the name of a metric or attack, the folder of pictures or the key cannot be used, or the
            pictures are those that erasing trained on.
        ArtifactFault: The erased folder, its base or the baseline is missing, altered or of something else.
    """
    _refuse_unknown(request)
    policy, policy_sha256 = open_policy(request.policy, known=every_score())
    identity = identify(request, open_erased(Path(request.erased)), key)
    receipt, pseudonym = identity.receipt, identity.pseudonym
    metrics = metrics_of(request.metrics, continued=receipt.requests > 1)
    check_budgets(request.budgets, metrics, attacks_of(request.attacks))
    refuse_telling(out.absolute(), pseudonym)
    other = open_baseline(Path(request.baseline), receipt, pseudonym=pseudonym) if request.baseline else None
    told = masked(request, pseudonym) if pseudonym else request
    with new_artifact(out, told.model_dump_json(), overwrite=overwrite) as draft:
        inputs = _inputs(request)  # before they are looked at, so that what is changed meanwhile is found
        # What may be refused is read before what takes hours.
        evidence = Evidence([], open_training(Path(request.erased)), receipt)
        probed = _probe(request, receipt, progress)
        examined = _examine(
            request,
            (_base(receipt, request), receipt, other),
            (metrics, probed.probe, probed.missing),
            progress,
        )
        found = examined.found
        judgement = judged(policy, found, continued=receipt.requests > 1, unseen=probed.unseen)
        report = AuditReport(
            space_version=__version__,
            seed=request.seed,
            inputs=inputs,
            files=[],
            run=draft.run(),
            request=request,
            concept=probed.concept,
            verdict=judgement.verdict,
            scores=found.scores,
            baseline=examined.baseline,
            skipped=found.skipped,
            gates=judgement.gates,
            passed_over=judgement.passed_over,
            policy=policy.name,
            policy_sha256=policy_sha256,
            seconds=found.seconds,
        )
        evidence = replace(evidence, samples=examined.samples)
        if pseudonym:
            report, evidence = pseudonymized(report, replace(evidence, receipt=untraced(receipt)), pseudonym)
        write_documents(draft.path, report, evidence)
        report = report.model_copy(update={"files": draft.files(), "run": draft.run()})
        draft.finish(report)
    return report


def plan(request: AuditRequest) -> dict[str, Any]:
    """Say what an audit would do, without reading a weight or a picture."""
    receipt = open_erased(Path(request.erased), verify=False)
    if request.baseline:
        open_baseline(Path(request.baseline), receipt, verify=False)
    policy, _ = open_policy(request.policy, known=every_score())
    metrics = metrics_of(request.metrics, continued=receipt.requests > 1)
    attacks = attacks_of(request.attacks)
    check_budgets(request.budgets, metrics, attacks)
    folders = (
        sorted(path.name for path in Path(request.images or "").iterdir() if path.is_dir()) if request.images else []
    )
    return {
        "concept": receipt.request.concept.name,
        "base": receipt.request.model,
        "metrics": metrics,
        "attacks": attacks,
        "policy": policy.name,
        "rules": [rule.text() for rule in policy.rule],
        "image_folders": folders,
    }


def _refuse_unknown(request: AuditRequest) -> None:
    """Refuse an unknown metric or attack before anything is read."""
    metrics_of(request.metrics)
    attacks_of(request.attacks)


def _base(receipt: ErasureReceipt, request: AuditRequest) -> Path:
    """Return where the original is, once it is what the receipt says and the erased checkpoint is made of it."""
    inputs = at_hand(receipt.inputs, request.inputs)
    source = next((source for source in inputs if source.kind == "checkpoint"), None)
    if source is None:
        raise ArtifactFault(
            "the receipt names no checkpoint among its inputs: there is nothing to compare with", hint=AS_WRITTEN
        )
    if not os.path.isdir(source.path):
        hint = "put it back, or say where it is with `--input checkpoint=DIR`"
        raise ArtifactFault(f"the checkpoint `{source.path}` that was erased from is gone", hint=hint)
    checkpoint = open_checkpoint(Path(source.path))
    check_recorded(checkpoint, receipt.base_files)
    refuse_not_made_of(checkpoint, Path(request.erased), receipt)
    return checkpoint.folder


def _inputs(request: AuditRequest) -> list[Source]:
    given: dict[SourceKind, str | None] = {
        "erased": request.erased,
        "images": request.images,
        "baseline": request.baseline,
    }
    return [source_of(Path(folder), kind) for kind, folder in given.items() if folder]


@dataclass(frozen=True)
class _Probed:
    """What may be asked, about what."""

    concept: Concept  # with what the auditor's notes added
    probe: Probe
    missing: dict[str, str]  # why each empty field of the probe is empty
    unseen: GateRecord | None  # whether the images are new to the checkpoint, where it was trained on any


def _probe(request: AuditRequest, receipt: ErasureReceipt, progress: Progress) -> _Probed:
    folder = request.images
    shown = probe_images(Path(folder), limit=request.limit) if folder else []
    notes = open_notes(Path(folder)) if folder else {}
    concept = described(receipt.request.concept, notes)
    own, others = split_images(concept, shown, folder or "")
    # What is gone already is no knowledge to retain, no neighbour and no control.
    past, others = open_history(Path(request.erased), receipt, others, notes)
    notes = {name: note for name, note in notes.items() if not past.erased(name)}
    material = open_material(receipt, seed=request.seed, places=request.inputs)
    names = other_names(concept, [*own, *others], notes, [name for name in request.names if not past.erased(name)])
    ordered, why = _ordered(names, phrases_of(names, notes), concept, material, request.device)
    if why:
        progress.note(f"names are in no order of nearness: {why}")
    probe = build_probe(concept, (own, others), ordered or names, notes, ordered=not why, seed=request.seed)
    absent = "" if folder else "no folder of images was given"
    missing = {
        "forget": absent,
        "retain": absent or "the folder of images shows no other concept",
        "neighbours": absent or why or "the folder of images shows no other concept",
        "names": absent or "no other name is known",
        "holdout": material.missing or "no anchor was held out",
        "used": material.unused or "erasing trained on no image",
        "general": material.missing or "the pool has no image that is no anchor",
        "facts": "no question about the concept is known",
        "earlier": "this is the first request of its checkpoint",
    }
    probe = replace(probe, holdout=material.holdout, general=material.general, used=material.used)
    probe = replace(probe, earlier=past.earlier, undo=past.undo)
    return _Probed(concept, probe, missing, _unseen(own, material, trained=receipt.request.forget_images is not None))


def _unseen(own: Sequence[ProbeImage], material: Material, *, trained: bool) -> GateRecord | None:
    """Refuse images that erasing trained on; what it was given beside the anchors has a rule of its own."""
    if own and trained:
        return unseen_gate(own, material.used, material.unused)
    refuse_anchors(own, material.used)
    return None


def _ordered(
    names: list[str], phrases: Mapping[str, str], concept: Concept, material: Material, device: str
) -> tuple[list[str], str]:
    """Sort names by nearness to the concept in the pool's text space, or say why that cannot be."""
    if not names:
        return [], ""
    if material.pool is None:
        return [], material.missing
    try:
        embeddings = _text_embeddings(material.pool, [concept.spoken, *(phrases[name] for name in names)], device)
    except (ArtifactFault, NetworkFault) as fault:
        return [], f"the pool's encoder is not at hand: {fault.message}"
    return nearest_first(names, embeddings), ""


def _text_embeddings(pool: PoolManifest, phrases: Sequence[str], device: str) -> np.ndarray:
    return text_embeddings(open_encoder(pool, pick_device(device)), phrases)


@dataclass
class _Examined:
    """What asking the checkpoints brought."""

    found: Found
    samples: list[Sample]
    baseline: dict[str, ScoreRecord] = field(default_factory=dict)


def _examine(
    request: AuditRequest,
    erasures: tuple[Path, ErasureReceipt, ErasureReceipt | None],
    asked: tuple[Sequence[str], Probe, Mapping[str, str]],
    progress: Progress,
) -> _Examined:
    """Ask the base, the erased checkpoint and the baseline; one of the last two is in memory at a time."""
    (base, receipt, baseline), (metrics, probe, missing) = erasures, asked
    unknown = unknown_images(baseline, probe) if baseline else {}  # looked at first: it may refuse
    attacks = attacks_of(request.attacks)

    def opened(folder: str | Path) -> CheckpointResponder:
        # Upstream of all that either erasure changed, or what an attack pushes would go round the edits.
        scopes = [one.request.scope for one in (receipt, baseline) if one]
        return open_model(Path(folder), device=request.device).upstream(*scopes)

    before, after = both_remembering(opened(base), opened(request.erased))
    refuse_other_anchors(after.responder, probe.earlier)
    found = measure(metrics, (before, after), probe, missing, progress, budgets=request.budgets)
    found.skipped |= unknown
    examined = _Examined(found, samples(before, after, probe))
    if attacks:
        found.join(assault(attacks, (before, after), probe, missing, progress, budgets=request.budgets))
    del after  # its memory is the baseline's
    if request.baseline and baseline:
        beside = same_history(Path(request.baseline), baseline, probe)
        other = Remembering(opened(request.baseline))
        metrics = [name for name in metrics if name in found.scores]
        again = measure(metrics, (before, other), beside, missing, progress, budgets=request.budgets)
        if attacks:
            again.join(assault(attacks, (before, other), beside, missing, progress, budgets=request.budgets))
        examined.baseline = with_differences(found.scores, again.scores, seed=request.seed)
    return examined
