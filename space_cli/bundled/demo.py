"""Pictures for the demo: a public pool without the concept, and an auditor's images of everything."""

import json
import os

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from space_cli.bundled.concepts import Drawn, drawn_concepts, find, with_article
from space_cli.bundled.drawings import STYLES, available_symbols, caption, font_path, render
from space_cli.core import phrasing
from space_cli.core.errors import GateRefusal
from space_cli.core.offering import offered

POOL_VIEWS = 6  # renderings of each named concept but the erased one
PROBE_VIEWS = 24  # unseen renderings of the erased concept
RETAIN_VIEWS = 3  # unseen renderings of each other concept
FORGET_VIEWS = 8  # renderings of the erased concept, for methods that train on it
POOL_SEED, PROBE_SEED, FORGET_SEED = 2_000_000, 3_000_000, 5_000_000
"""First seeds of the three sets; training used seeds below 1,000."""
SEED_STRIDE = 1_000
"""Distance between the sets of two demo seeds, more than any set's views."""


def known(concept: str) -> Drawn:
    """Return the bundled checkpoint's concept of this name.

    Raises:
        GateRefusal: The checkpoint does not know it.
    """
    found = find(concept)
    if found is None:
        names = sorted(c.name for c in drawn_concepts())
        raise GateRefusal(
            f"the bundled checkpoint does not know `{concept}`: {offered(concept, names)}",
            hint="space demo --concept panda",
        )
    return found


def write_pool(folder: Path, concept: str, *, seed: int, also: Sequence[str] = ()) -> Path:
    """Render about 2,000 public pictures, none of which shows the concept or one of `also`, and return their folder.

    The files carry no label: their names are running numbers.
    """
    erased = [known(name) for name in (concept, *also)]
    font_path()
    named = {c.symbol for c in drawn_concepts()}
    jobs: list[tuple[str, str, int]] = []
    for symbol in available_symbols():
        if any(_shows(symbol, one) for one in erased):
            continue
        views = POOL_VIEWS if symbol in named else 1
        jobs += [(symbol, STYLES[(view + len(jobs)) % len(STYLES)], view) for view in range(views)]
    first = POOL_SEED + seed * SEED_STRIDE
    _draw([(s, style, first + v, folder / f"{i:05d}.png") for i, (s, style, v) in enumerate(jobs)])
    return folder


def write_probe(folder: Path, concept: str, *, seed: int) -> Path:
    """Render an auditor's images, one sub-folder a concept, with what is true about each in `concepts.toml`."""
    erased = known(concept)
    font_path()
    first = PROBE_SEED + seed * SEED_STRIDE
    jobs: list[tuple[str, str, int, Path]] = []
    for other in drawn_concepts():
        views = PROBE_VIEWS if other == erased else RETAIN_VIEWS
        # The odd seed turns each concept's few views to the other style now and then.
        shift = len(jobs) % len(STYLES)
        place = folder / other.name.replace(" ", "_")
        jobs += [
            (other.symbol, STYLES[(v + shift) % len(STYLES)], first + v, place / f"{v:02d}.png") for v in range(views)
        ]
    _draw(jobs)
    tables = "\n".join(_table(other) for other in drawn_concepts())
    (folder / "concepts.toml").write_text(tables, encoding="utf-8")
    return folder


def write_forget(folder: Path, concept: str, *, seed: int) -> Path:
    """Render images of the concept for methods that train on them; no audit draws the same ones."""
    erased = known(concept)
    font_path()
    first = FORGET_SEED + seed * SEED_STRIDE
    views = range(FORGET_VIEWS)
    _draw([(erased.symbol, STYLES[v % len(STYLES)], first + v, folder / f"{v:02d}.png") for v in views])
    return folder


def _shows(symbol: str, erased: Drawn) -> bool:
    """Tell whether a drawing's own name mentions the concept, as "smiling cat face" does for the cat."""
    return symbol == erased.symbol or f" {erased.name} " in f" {caption(symbol)} "


def _draw(jobs: list[tuple[str, str, int, Path]]) -> None:
    for place in {path.parent for *_, path in jobs}:
        place.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(_draw_one, *zip(*jobs, strict=True), chunksize=32):
            pass


def _draw_one(symbol: str, style: str, seed: int, path: Path) -> None:
    render(symbol, style, seed).save(path)


def _table(concept: Drawn) -> str:
    facts = [
        [phrasing.TEXT_KIND_QUESTION.format(phrase=concept.phrase), with_article(concept.kind)],
        [phrasing.TEXT_HOME_QUESTION.format(phrase=concept.phrase), concept.home],
    ]
    # JSON strings and arrays of strings are TOML, too.
    return (
        f"[{json.dumps(concept.name)}]\nphrase = {json.dumps(concept.phrase)}\n"
        f"kind = {json.dumps(concept.kind)}\nfacts = {json.dumps(facts)}\n"
    )
