import json

import pytest

from benchmarks.league import __main__ as command
from benchmarks.league import cells
from benchmarks.league.entries import FIRST_RATES, OURS, RIVALS, entries
from benchmarks.tables import append_row, read_rows, refusal
from space_cli.core.recipe import Concept

FORGET = {"npo": 0.1, "siu": 0.2, OURS: 0.05}


class Drawn:
    name, digest = "produce", "abc"
    tests = tuple(Concept(name=name, kind="animal") for name in ("panda", "owl", "fox", "bear", "lion", "ant"))
    developments = tuple(Concept(name=name, kind="animal") for name in ("crab", "fish", "frog", "wasp"))


def row(entry, job):
    scores = {"forget_accuracy": FORGET.get(entry.name, 0.6), "forget_choice_accuracy": 0.1, "retain_accuracy": 0.9}
    told = {name: {"before": 1.0, "after": after, "control": None, "note": ""} for name, after in scores.items()}
    return cells.named(entry, job) | {
        "verdict": "pass", "scores": told, "seconds": {"erase": 1.0}, "layers": [], "steps": 3, "stopped": "",
        "signals": {}, "peak_memory_gb": 1.0, "bands": {}, "commit": "f00",
    }  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """What is computed, as entry, concept, seed and number of metrics; nothing is erased."""
    found = []

    def work(entry, job, measures):
        found.append((entry.name, job.concept.name, job.seed, len(measures.metrics)))
        if entry.name == "po":
            return row(entry, job) | refusal(3, "error: the retain budget would break")
        return row(entry, job)

    monkeypatch.setattr(command, "compute", work)
    monkeypatch.setattr(command, "open_subjects", lambda *_: iter([Drawn()]))
    return found


def run(tmp_path, *words):
    return command.main([*words, "--out", str(tmp_path)])


def test_all_play_the_first_seed_and_the_best_play_on(asked, tmp_path):
    assert run(tmp_path, "--concepts", "2") == 0
    names = list(entries())
    assert [one[0] for one in asked[: len(names)]] == names
    assert {(name, concept) for name, concept, seed, _ in asked if seed == 1} == {
        (name, concept) for name in (OURS, "npo", "siu") for concept in ("panda", "owl")
    }
    told = json.loads((tmp_path / "league.json").read_text())
    assert told["paired"]["npo"]["n"] == 4
    assert told["paired"]["ga"]["n"] == 2
    assert told["paired"]["npo"]["mean"] > 0
    assert told["command"].startswith("python -m benchmarks.league --concepts 2")
    assert "harmonic mean minus the best rival's, npo" in (tmp_path / "league.md").read_text()
    count = len(asked)
    assert run(tmp_path, "--concepts", "2") == 0
    assert len(asked) == count
    assert run(tmp_path, "--concepts", "2", "--redo", "npo") == 0
    assert {one[0] for one in asked[count:]} == {"npo"}
    assert len(asked) == count + 4


def test_shards_share_the_concepts_and_wait_for_each_other(asked, tmp_path, capsys):
    assert run(tmp_path, "--concepts", "2", "--shard", "0/2") == 0
    assert {one[1] for one in asked} == {"panda"}
    assert {one[2] for one in asked} == {0}
    assert "waits until all shards" in capsys.readouterr().err
    assert not (tmp_path / "league.json").exists()
    assert run(tmp_path, "--concepts", "2", "--shard", "1/2") == 0
    assert {one[1:3] for one in asked} == {("panda", 0), ("owl", 0), ("owl", 1)}


def test_a_search_is_followed_by_the_league_with_its_settings(asked, tmp_path):
    assert run(tmp_path, "tune", "--methods", "npo", "prompt") == 0
    assert {one[0] for one in asked} == {"npo"}
    assert {one[1] for one in asked} == {"crab", "fish", "frog", "wasp"}
    assert {one[3] for one in asked} == {len(cells.BRIEF)}
    rows = read_rows(tmp_path / command.TUNING)
    assert {one["settings"]["lr"] for one in rows} >= set(FIRST_RATES)
    assert run(tmp_path, "--methods", "npo", "--concepts", "1", "--seeds", "1") == 0
    chosen = read_rows(tmp_path / command.ROWS)[0]["settings"]
    assert chosen == json.loads((tmp_path / "league.json").read_text())["tuning"]["produce"]["npo"]["settings"]
    assert set(chosen) == {"lr", "steps"}
    assert "tried on crab, fish, frog, wasp" in (tmp_path / "league.md").read_text()


def test_commands_are_timed_on_dev_concepts_with_the_settings_of_the_table(asked, monkeypatch, tmp_path):
    timed = []

    def work(entry, job, measures):
        timed.append((entry, job))
        return row(entry, job) | {"seconds": {"select": 1.0, "erase": 2.0}}

    monkeypatch.setattr(command, "commanded", work)
    assert run(tmp_path, "tune", "--methods", "npo") == 0
    assert run(tmp_path, "costs", "--methods", "npo", OURS) == 0
    assert [(entry.name, job.concept.name) for entry, job in timed] == [(OURS, "crab"), ("npo", "crab")]
    assert set(timed[1][0].settings) == {"lr", "steps"}
    assert json.loads((tmp_path / "league.json").read_text())["costs"] == {}
    assert run(tmp_path, "--methods", "npo", OURS, "--concepts", "1", "--seeds", "1") == 0
    assert set(json.loads((tmp_path / "league.json").read_text())["costs"]) == {OURS, "npo"}


def test_a_search_stops_where_a_cell_fails(monkeypatch, tmp_path, capsys):
    def fail(entry, job, measures):
        raise cells.CellFailure("exit code 1: a bug")

    monkeypatch.setattr(command, "compute", fail)
    monkeypatch.setattr(command, "open_subjects", lambda *_: iter([Drawn()]))
    assert run(tmp_path, "tune", "--methods", "ga") == 1
    assert "not computed" in capsys.readouterr().err


def test_a_search_counts_neither_rows_to_redo_nor_those_of_other_defaults(asked, tmp_path):
    store, words = tmp_path / command.TUNING, ("tune", "--methods", "npo")
    assert run(tmp_path, *words) == 0
    count = len(asked)
    assert run(tmp_path, *words) == 0
    assert len(asked) == count
    assert run(tmp_path, *words, "--redo", "npo") == 0
    assert len(asked) == 2 * count
    old = [one | {"options": {"beta": 9.0}} for one in read_rows(store)]
    store.unlink()
    for one in old:
        append_row(store, one)
    assert run(tmp_path, *words) == 0
    assert len(asked) == 3 * count


def test_a_quick_look_takes_every_entry_at_its_defaults(asked, tmp_path):
    assert run(tmp_path, "--quick", "--shard", "1/2") == 0
    assert [one[:3] for one in asked] == [(name, "owl", 0) for name in entries()]
    rows = read_rows(tmp_path / command.ROWS)
    assert all(one["select"] for one in rows)
    assert all(one["settings"] == {} for one in rows if one["method"] in RIVALS)


def test_a_wrong_subject_is_refused(tmp_path, capsys):
    assert run(tmp_path, "--subject", "produce") == 2
    assert "not NAME=FOLDER" in capsys.readouterr().err
