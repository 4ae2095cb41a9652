"""Which ablations there are, and what their page says."""

import json

from itertools import product
from typing import get_args

import pytest

from benchmarks import ablations
from benchmarks.league import cells
from benchmarks.league.entries import OURS
from benchmarks.league.versions import MARK, options_of
from benchmarks.tables import append_row
from space_cli.core.errors import UsageFault
from space_cli.core.recipe import Concept, Scope
from tests.benchmarks.made_rows import Drawn, row, with_forget


class Developed(Drawn):
    developments = (Concept(name="crab", kind="animal"),)


def test_some_ablations_can_be_chosen_by_name():
    entries = ablations.variants(ablations.options_of("dcsi"))
    chosen = [entry.name for entry in ablations.wanted(entries, ["leak = *", "anchors: TPAS, *none"])]
    leaks = ["leak = 0.001", "leak = 0.007", "leak = 0.03", "leak = 0.1"]
    assert chosen == ["dcsi", *leaks, "anchors: TPAS, projection: none"]
    assert ablations.wanted(entries, []) == entries
    with pytest.raises(UsageFault, match="no variant is called `colour`"):
        ablations.wanted(entries, ["colour"])


def test_ablations_change_one_thing_or_cross_anchors_with_projections():
    known = ablations.options_of("dcsi")
    found = ablations.variants(known)
    assert found[0].name == OURS
    assert found[0].settings == {}
    assert len({entry.name for entry in found}) == len(found)
    alone = [entry for entry in found[1:] if not entry.name.startswith("anchors: ")]
    assert all(len(entry.settings) + bool(entry.select) + (entry.scope != "mlp") == 1 for entry in alone)
    assert {entry.settings.get("lambda_task") for entry in found} == {None, 0.0}
    made = {(json.dumps(options_of(entry)), entry.scope, entry.select, entry.images) for entry in found}
    assert len(made) == len(found)
    assert {("--ranking", "random"), ("--ranking", "similarity")} <= {entry.select for entry in alone}
    assert {entry.scope for entry in found} == set(get_args(Scope))


WAYS = ("select", "harden_steps", "fresh_steps", "refresh", "oracle", "images")


def test_the_cross_has_every_way_to_anchors_with_every_projection():
    found = {entry.name: entry for entry in ablations.variants(ablations.options_of("dcsi"))}
    crossed = [found[ablations.crossed(*cell)] for cell in product(ablations.ANCHORS, ablations.PROJECTIONS)]
    assert len({entry.name for entry in crossed}) == 6 * 4
    assert crossed.count(found[OURS]) == 1
    made = [options_of(entry) | {"select": entry.select, "images": entry.images} for entry in crossed]
    assert [one["projection"] for one in made] == ["none", "gradient", "update", "parametrised"] * 6
    told = [tuple(one[key] for key in WAYS) for one in made[::4]]
    assert told == [
        (("--ranking", "random"), 0, 0, 6, False, False),
        (("--ranking", "similarity"), 0, 0, 6, False, False),
        ((), 0, 0, 6, False, False),
        ((), 24, 36, 0, False, False),
        ((), 24, 36, 6, False, False),
        ((), 24, 36, 6, True, True),
    ]


def test_the_page_of_ablations_has_the_cross_and_says_what_is_missing(monkeypatch, tmp_path):
    known = ablations.options_of("dcsi")
    assert ablations.missing(known) == []
    assert "lambda_task (the method has no such option)" in ablations.missing(known - {"lambda_task"})
    crossed = "anchors: random, projection: none"
    store = tmp_path / "ablations.rows.jsonl"
    for one in (row(), with_forget(0.9, method="lambda_task = 0"), with_forget(1.0, method=crossed)):
        append_row(store, one)
    monkeypatch.setattr(ablations, "options_of", lambda method: known - {"lambda_task"})
    assert ablations.main(["--table", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "ablations.md").read_text()
    assert "| lambda_task = 0 | +" in text
    assert "- lambda_task (the method has no such option)" in text.partition("## Not possible yet")[2]
    assert "| random | 0.000, n 1 |  |  |  |" in text
    assert "| hardened + re-hardened |  |  |  | 0.852, n 1 |" in text
    assert f"{MARK} Of earlier defaults" in text


def test_signals_of_ablations_are_those_of_their_own_rows(monkeypatch, tmp_path):
    values = ((0.1, 3.0), (0.5, 2.0), (0.9, 1.0))
    rows = [with_forget(f, concept=str(v), signals={"holdout_nll": v}) for f, v in values]
    seen = [with_forget(0.0, method="oracle", settings={"oracle": True}, signals={"holdout_nll": 0.0})]
    lines = ablations.page([*rows, *seen], [])
    assert any(line.startswith("| holdout_nll | -1.000 | - | -1.000 | - | 3 | 3 | 3 |") for line in lines)
    asked = []
    monkeypatch.setattr(ablations, "compute", lambda *_: asked.append(_) or row() | cells.named(*_[:2]))
    monkeypatch.setattr(ablations, "open_subjects", lambda *_: iter([Developed()]))
    assert ablations.main(["--variants", "leak = 0.1", "--out", str(tmp_path)]) == 0
    assert [(entry.name, job.concept.name) for entry, job, _ in asked] == [(OURS, "crab"), ("leak = 0.1", "crab")]
    assert all("elicitation" in measures.metrics for _, _, measures in asked)
