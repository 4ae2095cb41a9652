"""Requests in a row: the figures against their definitions, and what a second run computes."""

import json

from pathlib import Path

import pytest
import typer

from PIL import Image

from benchmarks import continual
from benchmarks.concepts import test_concepts as kept_for_tests
from benchmarks.continual_page import page
from benchmarks.continual_picture import BOTTOM, TOP, draw, place
from space_cli.cli.app import app
from space_cli.core.errors import UsageFault

ROWS = [
    {"request": 0, "named": {"a": 1.0, "b": 0.9, "c": 1.0}, "retained": 0.8},
    {"request": 1, "concept": "a", "refused": False, "named": {"a": 0.1}, "retained": 0.8},
    {"request": 2, "concept": "b", "refused": False, "named": {"a": 0.4, "b": 0.0}, "retained": 0.6, "used": 0.3},
    {"request": 3, "concept": "c", "refused": True, "named": {"a": 0.0, "b": 0.2, "c": 1.0}, "retained": 0.7},
]


def test_the_figures_are_those_of_the_definitions():
    found = continual.curves(ROWS)
    points = found["points"]
    assert [point["forget"] for point in points] == pytest.approx([0.9, 1.0, 0.0])
    assert points[0]["history"] is None
    assert points[0]["rebound"] is None
    assert points[1]["history"] == pytest.approx(0.6)
    assert points[1]["rebound"] == pytest.approx(0.3)
    # What fell from 0.1 to 0 does not make up for what rose from 0 to 0.2.
    assert points[2]["history"] == pytest.approx(0.9)
    assert points[2]["rebound"] == pytest.approx(0.1)
    assert [point["retained"] for point in points] == pytest.approx([1.0, 0.75, 0.875])
    assert [point["before"] for point in points] == [1.0, 0.9, 1.0]
    assert found["worst_drop"] == pytest.approx(0.25)
    assert found["slope"] == pytest.approx(-0.0625)


@pytest.mark.parametrize(("values", "slope"), [([1.0], 0.0), ([1.0, 3.0], 2.0), ([3.0, 2.0, 1.0], -1.0)])
def test_a_slope_is_least_squares(values, slope):
    assert continual._slope(values) == pytest.approx(slope)


def test_the_concepts_follow_from_the_seed_and_are_no_test_concepts():
    chosen = continual.chosen(20, 0)
    assert chosen == continual.chosen(20, 0) != continual.chosen(20, 1)
    assert len({concept.name for concept in chosen}) == 20
    assert not {concept.name for concept in chosen} & {concept.name for concept in kept_for_tests()}
    assert continual.chosen(5, 0) == continual.chosen(5, 0)
    for count in (0, 10_000):
        with pytest.raises(UsageFault, match="are possible"):
            continual.chosen(count, 0)


@pytest.fixture
def counted(monkeypatch):
    """A plan of three whose requests only leave a record, with how often each was computed."""
    plan = continual.Plan(0, continual.chosen(3, 0), (), "0")
    done = []

    def request(asked, number, model, place):
        done.append((number, model.parent.name))
        refused = number == 2
        if not refused:
            (place / f"{number:02d}" / "erased").mkdir(parents=True, exist_ok=True)
            (place / f"{number:02d}" / "erased" / "space.json").write_text("{}")
        return {"concept": asked.concepts[number - 1].name, "refused": refused}

    def measure(responder, asked, number):
        return {"named": {concept.name: 0.5 for concept in asked.concepts[: number or 3]}, "retained": 1.0}

    monkeypatch.setattr(continual, "request", request)
    monkeypatch.setattr(continual, "measure", measure)
    monkeypatch.setattr(continual, "open_model", lambda folder, *, device: folder)
    return plan, done


def test_a_second_run_computes_nothing_and_a_refused_request_is_passed_over(counted, tmp_path):
    plan, done = counted
    rows = continual.run(plan, tmp_path / "rows.jsonl", tmp_path / "build")
    assert [number for number, _ in done] == [1, 2, 3]
    assert done[1][1] == done[2][1] == "01", "request 3 is asked of what request 1 left"
    assert continual.run(plan, tmp_path / "rows.jsonl", tmp_path / "build") == rows
    assert len(done) == 3


def test_a_killed_run_goes_on_at_the_request_it_lacks(counted, tmp_path):
    plan, done = counted
    store = tmp_path / "rows.jsonl"
    rows = continual.run(plan, store, tmp_path / "build")
    store.write_text("".join(f"{json.dumps(row)}\n" for row in rows[:2]))
    done.clear()
    assert continual.run(plan, store, tmp_path / "build") == rows
    assert [number for number, _ in done] == [2, 3]


def test_a_checkpoint_that_was_cleaned_away_is_made_again_without_a_second_row(counted, tmp_path):
    plan, done = counted
    store = tmp_path / "rows.jsonl"
    continual.run(plan, store, tmp_path / "build")
    (tmp_path / "build" / "01" / "erased" / "space.json").unlink()
    done.clear()
    continual.run(plan, store, tmp_path / "build")
    assert [number for number, _ in done] == [1]
    assert len(store.read_text().splitlines()) == 4


def test_rows_of_another_plan_do_not_count(counted, tmp_path):
    plan, done = counted
    store = tmp_path / "rows.jsonl"
    continual.run(plan, store, tmp_path / "build")
    other = continual.Plan(0, plan.concepts, ("steps=3",), "0")
    assert other.key != plan.key
    done.clear()
    continual.run(other, store, tmp_path / "other")
    assert len(done) == 3


def test_requests_of_other_defaults_are_not_gone_on_from(counted, tmp_path):
    plan, done = counted
    store = tmp_path / "rows.jsonl"
    rows = continual.run(plan, store, tmp_path / "build")
    other = rows[1] | {"options": rows[1]["options"] | {"leak": 0.5}}
    store.write_text("".join(f"{json.dumps(row)}\n" for row in (rows[0], other)))
    done.clear()
    with pytest.raises(UsageFault, match="other defaults, first 1") as refusal:
        continual.run(plan, store, tmp_path / "build")
    assert plan.key in refusal.value.hint
    assert done == []


def test_the_page_says_at_which_commits_requests_were_computed():
    told = {"curves": continual.curves(ROWS), "machine": {"cores": 2, "processor": "one", "torch": "2"}}
    told |= {"command": "it", "commit": "f00"}
    assert "rows computed" not in page(told | {"rows": ROWS})
    assert "; rows computed at `bad`, `dad`." in page(
        told | {"rows": [*ROWS[:2], ROWS[2] | {"commit": "bad"}, ROWS[3] | {"commit": "dad"}]}
    )


def test_the_page_and_the_picture_hold_every_request(tmp_path):
    curves = continual.curves(ROWS)
    result = {
        "rows": ROWS, "curves": curves, "commit": "c", "command": "python -m benchmarks.continual",
        "machine": {"cores": 2, "processor": "p", "torch": "t"},
    }  # fmt: skip
    told = page(result)
    assert "| 2 | b | 90.0 % | 100.0 % | 60.0 % | 30.0 % | 75.0 % | 30.0 % |" in told
    assert "| 3 | c (refused) |" in told
    assert "Refused, and so still known: c." in told
    assert "| 3 | 0 | 20 | 100 |" in told
    draw(curves, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as drawn:
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 5
    assert place(0, 1, 2.0)[1] == TOP
    assert place(0, 1, -1.0)[1] == BOTTOM
    assert Path(tmp_path / "x.png").stat().st_size > 2000


class Parrot:
    """Says one thing about every picture."""

    def __init__(self, said):
        self.said = said

    def answer(self, images, questions, *, tokens=24):
        return [self.said] * len(questions)


def test_every_requested_concept_and_all_others_are_asked_about():
    plan = continual.Plan(0, continual.chosen(2, 0), (), "0")
    first, second = plan.concepts
    before, after = (continual.measure(Parrot(f"This is {first.phrase}."), plan, number) for number in (0, 1))
    assert before == {"named": {first.name: 1.0, second.name: 0.0}, "retained": 0.0}
    assert after["named"] == {first.name: 1.0}
    other = next(concept for concept in continual.drawn_concepts() if concept not in plan.concepts)
    told = continual.measure(Parrot(f"This is {other.phrase}."), plan, 2)
    assert told["retained"] == pytest.approx(1 / (len(continual.drawn_concepts()) - 2))


@pytest.mark.parametrize(("code", "refused"), [(0, False), (3, True)])
def test_a_request_is_what_a_user_would_type(monkeypatch, tmp_path, code, refused):
    plan = continual.Plan(5, continual.chosen(2, 0), ("steps=2",), "0")
    asked = []
    receipt = dict.fromkeys(("steps", "stopped", "used", "spent", "meter", "requests", "signals"), 1) | {
        "run": {"seconds": 7.0}
    }

    def space(words):
        asked.extend(words)
        if not code:
            (tmp_path / "02" / "erased").mkdir(parents=True)
            (tmp_path / "02" / "erased" / "space.json").write_text(json.dumps(receipt))
        return code, "note\nerror: the retain budget would break"

    monkeypatch.setattr(continual, "_space", space)
    monkeypatch.setattr(continual, "_pool", lambda plan, place: place / "pool")
    made = continual.request(plan, 2, tmp_path / "01" / "erased", tmp_path)
    assert made["concept"] == plan.concepts[1].name
    assert made["refused"] is refused
    assert ("reason" in made) is refused
    known = {spelling for one in typer.main.get_command(app).commands["erase"].params for spelling in one.opts}
    assert {word for word in asked if word.startswith("--")} <= known
    assert asked[asked.index("--model") + 1] == str(tmp_path / "01" / "erased")
    assert asked[asked.index("--out") + 1] == str(tmp_path / "02" / "erased")
    assert asked[asked.index("--set") + 1] == "steps=2"
    asked.clear()
    assert continual.request(plan, 2, tmp_path / "01" / "erased", tmp_path) == made
    assert bool(asked) is refused, "a checkpoint that is there is not made again"


def test_a_request_that_fails_otherwise_stops_the_run(monkeypatch, tmp_path):
    plan = continual.Plan(0, continual.chosen(1, 0), (), "0")
    monkeypatch.setattr(continual, "_space", lambda words: (4, "error: altered"))
    monkeypatch.setattr(continual, "_pool", lambda plan, place: place / "pool")
    with pytest.raises(RuntimeError, match="request 1, exit code 4: error: altered"):
        continual.request(plan, 1, tmp_path, tmp_path)
