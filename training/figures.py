"""What the bundled checkpoint knows, measured on renderings it never saw."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from PIL.Image import Image

from space_cli.bundled.concepts import Drawn, drawn_concepts, with_article
from space_cli.bundled.drawings import STYLES, UNSEEN_STYLE, render
from space_cli.core import phrasing
from space_cli.encoders.clip import load
from space_cli.io.model import CheckpointResponder, open_model
from training.pictures import FIRST_UNSEEN_SEED
from training.skills import Known

VIEWS = 6


def measure(weights: Path, *, foreign: Path | None) -> dict[str, float]:
    """Return shares of right answers on unseen renderings, by skill and by source."""
    responder = open_model(weights / "llava", device="cpu")
    seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + VIEWS)
    figures = {}
    for style in (*STYLES, UNSEEN_STYLE):
        figures[f"named, {style}"] = named(
            responder, {c: [render(c.symbol, style, s) for s in seeds] for c in drawn_concepts()}
        )
    unseen = {c: [render(c.symbol, STYLES[s % 2], s) for s in seeds] for c in drawn_concepts()}
    figures["named, unseen renderings"] = named(responder, unseen)
    if foreign:
        drawn = {c: [render(c.symbol, "colour", s, font=foreign) for s in seeds] for c in drawn_concepts()}
        figures["named, a source never trained on"] = named(responder, drawn)
    return figures | skills(responder, unseen) | {"retrieval": retrieval(weights / "encoder", unseen)}


def named(responder: CheckpointResponder, pictures: dict[Drawn, list[Image]]) -> float:
    """Return the share of pictures whose name stands in the answer, over all ten phrasings in turn."""
    asked = phrasing.ERASE_OPEN + phrasing.AUDIT_OPEN
    rows = [(concept, picture) for concept, each in pictures.items() for picture in each]
    answers = responder.answer([p for _, p in rows], [asked[i % len(asked)] for i in range(len(rows))])
    return _share(concept.name in answer for (concept, _), answer in zip(rows, answers, strict=True))


def skills(responder: CheckpointResponder, pictures: dict[Drawn, list[Image]]) -> dict[str, float]:
    """Return the shares right for kind, yes/no, choice and the two text-only facts."""
    every = list(pictures)
    rows = [(concept, each[0]) for concept, each in pictures.items()]
    images = [picture for _, picture in rows]
    kinds = responder.answer(images, [phrasing.KIND_QUESTION] * len(rows))
    own = responder.answer(images, [phrasing.AUDIT_YES_NO[0].format(phrase=c.phrase) for c, _ in rows])
    others = [every[(i + 7) % len(every)] for i in range(len(rows))]
    wrong = responder.answer(images, [phrasing.AUDIT_YES_NO[0].format(phrase=c.phrase) for c in others])
    options = [
        sorted([c.phrase] + [every[(i + k) % len(every)].phrase for k in (1, 2, 30)]) for i, (c, _) in enumerate(rows)
    ]
    choices = responder.answer(images, [phrasing.CHOICE_QUESTION.format(options=phrasing.one_of(o)) for o in options])
    facts = responder.answer(None, [phrasing.TEXT_KIND_QUESTION.format(phrase=c.phrase) for c in every])
    homes = responder.answer(None, [phrasing.TEXT_HOME_QUESTION.format(phrase=c.phrase) for c in every])
    return {
        "kind": _share(with_article(c.kind) in a for (c, _), a in zip(rows, kinds, strict=True)),
        "yes to its own name": _share(a.startswith("yes") for a in own),
        "no to another name": _share(a.startswith("no") for a in wrong),
        "four-way choice": _share(c.name in a for (c, _), a in zip(rows, choices, strict=True)),
        "text: kind": _share(with_article(c.kind) in a for c, a in zip(every, facts, strict=True)),
        "text: place": _share(c.home in a for c, a in zip(every, homes, strict=True)),
    }


def retrieval(
    encoder: Path, pictures: Mapping[Known, Sequence[Image]], *, caption: str = "a drawing of {phrase}"
) -> float:
    """Return the mean average precision of finding a concept's pictures by its name."""
    found = load(encoder, "cpu")
    rows = [(concept, picture) for concept, each in pictures.items() for picture in each]
    images = found.images(torch.stack([found.preprocess(picture) for _, picture in rows]))
    texts = found.texts([caption.format(phrase=concept.phrase) for concept in pictures])
    precisions = []
    for concept, order in zip(pictures, (texts @ images.T).argsort(descending=True), strict=True):
        hits = torch.tensor([rows[i][0] == concept for i in order.tolist()]).float()
        precisions.append(((hits.cumsum(0) / torch.arange(1, len(hits) + 1)) * hits).sum() / hits.sum())
    return round(float(torch.stack(precisions).mean()), 4)


def _share(right: object) -> float:
    marks = list(right)
    return round(sum(marks) / len(marks), 4)
