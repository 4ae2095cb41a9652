"""What the demo benchmark computes again, and what its page says of refusals."""

import pytest

from benchmarks import demo
from benchmarks.tables import append_row, read_rows, refusal
from space_cli.bundled.concepts import find

SEEDS = {"dcsi": 1, "space-paper": 1}
OWL = find("owl")


@pytest.fixture
def computed(monkeypatch):
    """The cells that were computed; a row is its cell and nothing else."""
    done = []

    def row(method, concept, seed):
        done.append((method, concept.name, seed))
        return {"method": method, "concept": concept.name, "seed": seed, "scores": {}, "verdict": "pass", "seconds": {}}

    monkeypatch.setattr(demo, "_row", row)
    monkeypatch.setattr(demo, "digest_of", lambda folder: "abc")
    return done


def test_a_finished_row_is_not_computed_twice(computed, tmp_path):
    store = tmp_path / "rows.jsonl"
    rows = demo._rows(store, [OWL], SEEDS)
    assert computed == [("dcsi", "owl", 0), ("space-paper", "owl", 0)]
    assert demo._rows(store, [OWL], SEEDS) == rows == read_rows(store)
    assert len(computed) == 2


@pytest.mark.parametrize("changed", [{"checkpoint": "old"}, {"options": {"leak": 0.5}}])
def test_a_row_of_other_weights_or_defaults_is_computed_again_and_counts_once(computed, tmp_path, changed):
    store = tmp_path / "rows.jsonl"
    old, *_ = demo._rows(store, [OWL], {"dcsi": 1})
    store.unlink()
    append_row(store, old | changed)
    assert demo._rows(store, [OWL], {"dcsi": 1}) == [old]
    assert len(computed) == 2
    assert len(read_rows(store)) == 2


def test_a_row_that_does_not_tell_what_it_was_made_of_counts(computed, tmp_path):
    store = tmp_path / "rows.jsonl"
    append_row(store, {"method": "dcsi", "concept": "owl", "seed": 0, "scores": {}})
    assert len(demo._rows(store, [OWL], {"dcsi": 1})) == 1
    assert computed == []


def test_the_page_says_that_refused_runs_are_in_no_mean():
    kept = {"method": "dcsi", "scores": {"a": {}}, "verdict": "pass", "commit": "f00", "processor": "one"}
    stats = {"a": {"mean": 0.5, "low": 0.4, "high": 0.6, "worst": 0.6, "n": 1, "units": 2}}
    told = {"command": "it", "machine": {"cores": 2, "torch": "2"}, "summary": {"dcsi": stats}}
    assert "not refused" not in demo._page(told | {"rows": [kept]})
    page = demo._page(told | {"rows": [kept, kept | refusal(3, "error: no")]})
    assert "Means are over the 1 runs that were not refused." in page
