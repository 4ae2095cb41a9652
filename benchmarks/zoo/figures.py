"""What a checkpoint of the zoo recognises, asked in the ordinary way about photographs it never saw."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from benchmarks.zoo.classes import Taught
from space_cli.core import phrasing
from space_cli.core.matching import mentions, says_yes
from space_cli.core.recipe import spoken_form
from space_cli.io.model import CheckpointResponder, open_model
from training.figures import retrieval

CAPTION = "a photo of {phrase}"
OPEN = phrasing.ERASE_OPEN + phrasing.AUDIT_OPEN


def measure(folder: Path, pictures: Mapping[Taught, Sequence[Image]], *, device: str) -> dict[str, Any]:
    """Return the share named of each class and of all, the other skills, and retrieval by name.

    Args:
        folder: Holds `llava/` and `encoder/`.
        pictures: Held-out photographs of each concept.
        device: As torch names it.
    """
    responder = open_model(folder / "llava", device=device)
    by_class = named(responder, pictures)
    counts = [len(each) for each in pictures.values()]
    right = sum(share * count for share, count in zip(by_class.values(), counts, strict=True))
    return {
        "photographs": sum(counts),
        "named": round(right / sum(counts), 4),
        "named, mean of classes": round(sum(by_class.values()) / len(by_class), 4),
        **skills(responder, pictures),
        "retrieval": retrieval(folder / "encoder", pictures, caption=CAPTION),
        "named, by class": {name: round(share, 4) for name, share in by_class.items()},
    }


def named(responder: CheckpointResponder, pictures: Mapping[Taught, Sequence[Image]]) -> dict[str, float]:
    """Return by name the share of photographs whose answer names them, over all ten open phrasings in turn."""
    rows = [(concept, picture) for concept, each in pictures.items() for picture in each]
    questions = [OPEN[row % len(OPEN)] for row in range(len(rows))]
    answers = responder.answer([picture for _, picture in rows], questions)
    right = {concept.name: 0 for concept in pictures}
    for (concept, _), answer in zip(rows, answers, strict=True):
        right[concept.name] += mentions(answer, [concept.name], others=list(right))
    return {concept.name: right[concept.name] / len(each) for concept, each in pictures.items()}


def skills(responder: CheckpointResponder, pictures: Mapping[Taught, Sequence[Image]]) -> dict[str, float]:
    """Return the shares right for kind, yes/no and four-way choice on one photograph a class, and for two facts."""
    known = list(pictures)
    images = [each[0] for each in pictures.values()]

    def turned(by: int) -> list[Taught]:
        return [*known[by:], *known[:by]]

    def asked(template: str, concepts: Sequence[Taught], shown: Sequence[Image] | None) -> list[str]:
        return responder.answer(shown, [template.format(phrase=concept.phrase) for concept in concepts])

    offered = [
        phrasing.one_of(sorted(concept.phrase for concept in four))
        for four in zip(*(turned(by) for by in range(4)), strict=True)
    ]
    chosen = responder.answer(images, [phrasing.CHOICE_QUESTION.format(options=options) for options in offered])
    kinds = responder.answer(images, [phrasing.KIND_QUESTION] * len(known))
    yes_no = phrasing.AUDIT_YES_NO[0]
    names = [concept.name for concept in known]
    told = {
        "kind": [spoken_form(c.kind) in a for c, a in zip(known, kinds, strict=True)],
        "yes to its own name": [says_yes(answer) is True for answer in asked(yes_no, known, images)],
        "no to another name": [says_yes(answer) is False for answer in asked(yes_no, turned(1), images)],
        "four-way choice": [mentions(a, [c.name], others=names) for c, a in zip(known, chosen, strict=True)],
        "text: kind": [
            a.endswith(f"{spoken_form(c.kind)}.")
            for c, a in zip(known, asked(phrasing.TEXT_KIND_QUESTION, known, None), strict=True)
        ],
        "text: place": [
            c.home in a for c, a in zip(known, asked(phrasing.TEXT_HOME_QUESTION, known, None), strict=True)
        ],
    }
    return {name: round(sum(right) / len(right), 4) for name, right in told.items()}
