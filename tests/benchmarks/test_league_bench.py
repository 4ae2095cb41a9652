from dataclasses import replace

import pytest

from benchmarks.league import bench, cells
from benchmarks.league.entries import SMALL, entries
from benchmarks.league.subjects import Bundled, Job

MEASURES = cells.Measures((*cells.BRIEF, "retain_kl"), limit=1)
RECEIPT = ("layers", "steps", "stopped", "signals")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One folder for both, so that they erase with the same anchors."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("league")
        patch.setattr(bench, "CACHE", place)
        yield place
        bench._bench.cache_clear()


@pytest.fixture(scope="module")
def job():
    subject = Bundled()
    return Job(subject, subject.developments[0], 0)


def same(made, said):
    assert {name: one["after"] for name, one in made["scores"].items()} == {
        name: pytest.approx(one["after"], abs=1e-6) for name, one in said["scores"].items()
    }
    for name in ("verdict", "skipped", *RECEIPT):
        assert made[name] == pytest.approx(said[name], rel=1e-3) if name == "signals" else made[name] == said[name]
    assert cells.key_of(made) == cells.key_of(said)


@pytest.mark.slow
def test_a_row_in_memory_is_that_of_the_commands(cache, job):
    entry = replace(entries()["ga"], select=SMALL).with_settings({"lr": 1e-3, "steps": 4})
    made = bench.compute(entry, job, MEASURES)
    same(made, cells.compute(entry, job, MEASURES, cache))
    assert made["bands"]
    assert made["peak_memory_gb"] is None


@pytest.mark.slow
def test_nothing_of_one_erasure_is_left_for_the_next(cache, job):
    entry = replace(entries()["ga"], select=SMALL).with_settings({"lr": 1e-3, "steps": 4})
    told = bench.compute(replace(entries()["prompt"], select=SMALL), job, MEASURES)
    same(*(bench.compute(entry, job, MEASURES) for _ in range(2)))
    assert told["layers"] == []
    assert told["scores"]["retain_kl"]["after"] > 0


@pytest.mark.slow
def test_a_budget_refuses_in_memory_as_in_the_command(cache, job):
    entry = replace(entries()["ga"], select=SMALL, limited=True).with_settings({"lr": 1e-2, "steps": 8})
    made = bench.compute(entry, job, MEASURES)
    assert made["verdict"] == "refused with exit code 3"
    assert "the retain budget would break" in made["reason"]
    assert made["scores"] == {}
    assert bench.compute(entry, job, replace(MEASURES, scores_only=True))["scores"]
    measured = bench.compute(replace(entry, gated=False), job, MEASURES)
    assert measured["signals"][bench.OVER] == 1.0
    assert measured["signals"]["retain_kl"] > 0
    assert measured["scores"]["retain_kl"]["after"] > 0
    assert not measured["verdict"].startswith("refused")
