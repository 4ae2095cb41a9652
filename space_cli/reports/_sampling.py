"""Which pictures stand with their answers in an audit's folder, and what a pseudonymized one shows of them."""

from collections.abc import Sequence
from dataclasses import replace

from space_cli.core.asking import spread
from space_cli.core.masking import masked, unnamed
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.records import AuditReport, Pseudonymized
from space_cli.core.types import Probe, ProbeImage
from space_cli.reports.html import Evidence, Sample

SAMPLES = {"forget": 10_000, "neighbour": 24, "retain": 24}
"""Rows of `samples.jsonl` at most, by role; every picture of the concept is there."""


def samples(before: Responder, after: Responder, probe: Probe) -> list[Sample]:
    """Ask both checkpoints about pictures of the concept, of its neighbours and of the rest."""
    chosen = {
        "forget": list(probe.forget)[: SAMPLES["forget"]],
        "neighbour": spread(probe.near, SAMPLES["neighbour"]),
        "retain": spread(probe.far, SAMPLES["retain"]),
    }
    return [sample for role, shown in chosen.items() for sample in _asked(before, after, role, shown)]


def pseudonymized(report: AuditReport, evidence: Evidence, pseudonym: Pseudonym) -> tuple[AuditReport, Evidence]:
    """Return what is written where nothing may name or show the concept."""
    told = masked(report, pseudonym).model_copy(update={"pseudonymized": Pseudonymized(key_id=pseudonym.key_id)})
    shown = _masked(evidence.samples, pseudonym)
    return told, Evidence(shown, evidence.training, masked(unnamed(evidence.receipt, pseudonym), pseudonym))


def _masked(found: Sequence[Sample], pseudonym: Pseudonym) -> list[Sample]:
    return [
        replace(
            one,
            image=None if one.role == "forget" else one.image,
            **{key: pseudonym.mask(getattr(one, key)) for key in ("name", "path", "question", "before", "after")},
        )
        for one in found
    ]


def _asked(before: Responder, after: Responder, role: str, shown: Sequence[ProbeImage]) -> list[Sample]:
    if not shown:
        return []
    question = AUDIT_OPEN[0]
    images = [one.image for one in shown]
    answers = [responder.answer(images, [question] * len(images)) for responder in (before, after)]
    return [
        Sample(role, one.name, one.path, question, old, new, one.image)
        for one, old, new in zip(shown, *answers, strict=True)
    ]
