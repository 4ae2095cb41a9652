import numpy as np
import pytest

from space_cli.core.errors import GateRefusal
from space_cli.core.selection import Counts, calibrated_floor, candidates, diversified, naming_rows, roles


def test_candidates_come_nearest_first_and_above_the_floor():
    found = candidates(np.array([0.1, 0.5, 0.3, 0.4]), floor=0.25, count=10, least=1)
    assert found.tolist() == [1, 3, 2]


def test_a_pool_with_nothing_near_is_refused_with_figures():
    with pytest.raises(GateRefusal, match="nothing near") as refusal:
        candidates(np.array([0.1, 0.12]), floor=0.25, count=10, least=1)
    assert refusal.value.exit_code == 3
    assert refusal.value.figures["top_similarity"] == pytest.approx(0.12)


def test_the_floor_is_what_chance_rarely_reaches():
    chance = np.random.default_rng(0).normal(0.15, 0.02, (1000, 30))
    floor = calibrated_floor(chance)
    assert (chance > floor).mean() == pytest.approx(0.05, abs=0.002)


def test_diversified_starts_with_the_best_and_skips_duplicates():
    east, north, west = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
    embeddings = np.array([east, east, north, west])
    picked = diversified(embeddings, np.array([0, 1, 2, 3]), 3)
    assert picked[0] == 0
    assert set(picked.tolist()) == {0, 2, 3}


def test_diversified_never_picks_what_is_not_ranked():
    embeddings = np.eye(5)
    assert set(diversified(embeddings, np.array([4, 2]), 5).tolist()) == {4, 2}


def test_diversified_of_nothing_is_nothing():
    assert not len(diversified(np.eye(3), np.array([], dtype=int), 4))


def test_roles_are_disjoint_and_sized():
    counts = Counts(anchors=6, holdout=2, neighbours=5, general=7)
    given = roles(np.arange(8), np.arange(40), counts, seed=1)
    rows = [row for part in given.values() for row in part]
    assert len(rows) == len(set(rows))
    assert {role: len(part) for role, part in given.items()} == {
        "forget": 6, "holdout": 2, "neighbour": 5, "general": 7,
    }  # fmt: skip
    assert given["neighbour"] == [8, 9, 10, 11, 12]


@pytest.mark.parametrize(("anchors", "holdout"), [(32, 16), (16, 16), (8, 24), (1, 4)])
def test_as_many_anchors_are_held_out_as_are_wanted_however_few_are_trained_on(anchors, holdout):
    picked = np.arange(anchors + holdout)
    given = roles(picked, np.arange(100), Counts(anchors, holdout, neighbours=5, general=7), seed=1)
    assert (len(given["forget"]), len(given["holdout"])) == (anchors, holdout)
    assert {*given["forget"], *given["holdout"]} == {*picked.tolist()}, "none of them is retained as a neighbour"


def test_too_few_picked_rows_are_trained_on_rather_than_held_out():
    given = roles(np.arange(8), np.arange(40), Counts(anchors=16, holdout=8, neighbours=5, general=7), seed=1)
    assert (given["forget"], given["holdout"]) == ([0, 1, 2, 4, 5, 6], [3, 7])


def test_roles_repeat_with_the_seed_and_change_with_it():
    counts = Counts(4, 1, 2, 5)
    one, same, other = (roles(np.arange(5), np.arange(60), counts, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one["general"] != other["general"]


def test_a_row_that_any_answer_names_is_told():
    answers = (["an owl", "a bus", "a cat"], ["a bird", "a bus", "a barn owl"])
    assert naming_rows(np.array([7, 8, 9]), answers, ["owl"]) == {7, 9}
    assert naming_rows(np.array([7, 8, 9]), answers, ["kite"]) == set()
