import json
import math

import pytest

from benchmarks.league import __main__ as command
from benchmarks.league.entries import FIRST_RATES, FIRST_STEPS, RATES, RATES_AT, STEPS, TAU, TAUS, entries
from benchmarks.league.tuning import around_best, beside, choice, choices, open_settings, scored, tuned_for
from benchmarks.tables import append_row, refusal
from space_cli.core import registry

CONCEPTS = ("panda", "owl")


def row(settings, concept, forget, method="npo"):
    scores = {"forget_accuracy": forget, "forget_choice_accuracy": 0.1, "retain_accuracy": 0.9}
    told = {name: {"before": 1.0, "after": after, "control": None, "note": ""} for name, after in scores.items()}
    return {
        "subject": "bundled", "checkpoint": "abc", "method": method, "settings": settings, "scope": "mlp", "select": [],
        "concept": concept, "kind": "animal", "seed": 0, "verdict": "pass", "scores": told, "seconds": {},
        "layers": [], "steps": 3, "signals": {}, "peak_memory_gb": 1.0, "bands": {},
    }  # fmt: skip


def searched(forget_of, *, method="npo", concepts=CONCEPTS):
    """Search to the end where `forget_of(rate, steps)`, or with a third of τ, is what a setting comes to."""
    rows = []
    while missing := open_settings(rows, method, wanted=len(concepts)):
        rows += [row(one, name, forget_of(*one.values()), method) for one in missing for name in concepts]
        assert len(rows) < 100
    return rows


def distance(rate, steps, *, best=(3e-4, 40)):
    return min(0.99, 0.05 + abs(math.log(rate / best[0])) / 10 + abs(math.log(steps / best[1])) / 20)


def test_a_search_in_the_middle_tries_what_it_began_with():
    rows = searched(distance)
    found = choice(rows, "npo", wanted=2)
    assert found["settings"] == {"lr": 3e-4, "steps": 40}
    assert found["tried"] == len(FIRST_RATES) + len(FIRST_STEPS) - 1
    assert found["concepts"] == sorted(CONCEPTS)


@pytest.mark.parametrize("best", [(RATES[0], STEPS[0]), (RATES[-1], STEPS[-1]), (1e-2, 160)])
def test_a_search_goes_on_beyond_the_edge(best):
    rows = searched(lambda rate, steps: distance(rate, steps, best=best))
    assert choice(rows, "npo", wanted=2)["settings"] == {"lr": best[0], "steps": best[1]}


def corner(rate, steps):
    """Return what is left of a concept where a slow rate forgets in many steps alone, and a fast one never quite."""
    return {(1e-4, 320): 0.01, (3e-4, 160): 0.05, (1e-3, 80): 0.1, (1e-3, 40): 0.12}.get((rate, steps), 0.5)


def test_what_lies_on_neither_row_is_found_around_the_best_point():
    rows = searched(corner)
    first = choice(rows, "npo", wanted=2)
    assert (first["settings"], first["ended"]) == ({"lr": 1e-3, "steps": 80}, False)
    while missing := around_best(rows, "npo", wanted=2):
        assert all(one not in [row["settings"] for row in rows] for one in missing)
        rows += [row(one, name, corner(*one.values())) for one in missing for name in CONCEPTS]
        assert not open_settings(rows, "npo", wanted=2)
    last = choice(rows, "npo", wanted=2)
    assert (last["settings"], last["ended"]) == ({"lr": 1e-4, "steps": 320}, True)
    assert last["tried"] < len(RATES) * len(STEPS)


def test_the_rates_are_compared_at_one_number_of_steps():
    first = open_settings([], "npo", wanted=2)
    assert first == [{"lr": rate, "steps": RATES_AT} for rate in FIRST_RATES]


def test_an_unfinished_search_chooses_nothing():
    rows = searched(distance)
    assert choice(rows[:-1], "npo", wanted=2) is None
    assert choice([], "npo", wanted=2) is None
    assert len(scored(rows[:-1], "npo", wanted=2)) == len(scored(rows, "npo", wanted=2)) - 1


def test_a_plateau_is_left_upwards():
    rows = searched(lambda rate, steps: 0.3)
    tried = {(one["settings"]["lr"], one["settings"]["steps"]) for one in rows}
    assert {rate for rate, steps in tried if steps == RATES_AT} == {
        *FIRST_RATES,
        *RATES[RATES.index(FIRST_RATES[-1]) :],
    }
    assert {steps for rate, steps in tried if rate == RATES[-1]} == {
        *FIRST_STEPS,
        *STEPS[STEPS.index(FIRST_STEPS[-1]) :],
    }
    assert len(tried) == 6 + 4
    late = searched(lambda rate, steps: 0.1 if rate == RATES[-1] else 0.3)
    assert choice(late, "npo", wanted=2)["settings"]["lr"] == RATES[-1]


def test_of_equal_settings_the_fewer_steps_and_the_smaller_rate_win():
    rows = searched(lambda rate, steps: 0.3 if steps == RATES_AT else 0.4)
    assert choice(rows, "npo", wanted=2)["settings"] == {"lr": FIRST_RATES[0], "steps": RATES_AT}
    rows = searched(lambda rate, steps: 0.3)
    assert choice(rows, "npo", wanted=2)["settings"] == {"lr": RATES[-1], "steps": FIRST_STEPS[0]}


def test_the_threshold_of_a_mask_is_searched_last():
    def forget_of(rate, steps, tau=TAU):
        return distance(rate, steps) + 0.5 * abs(tau - 0.1)

    rows = searched(forget_of, method="mmunlearner")
    assert choice(rows, "mmunlearner", wanted=2)["settings"] == {"lr": 3e-4, "steps": 40, "tau": 0.1}
    lowered = [one["settings"] for one in rows if "tau" in one["settings"]]
    assert lowered == [one["settings"] for one in rows[-len(lowered) :]]
    assert {(one["lr"], one["steps"]) for one in lowered} == {(3e-4, 40)}
    assert {one["tau"] for one in lowered} == {*TAUS} - {TAU}
    published = searched(lambda rate, steps, tau=TAU: distance(rate, steps), method="mmunlearner")
    assert choice(published, "mmunlearner", wanted=2)["settings"] == {"lr": 3e-4, "steps": 40}
    assert registry.load("methods", "mmunlearner").Options().tau == TAU
    assert not any("tau" in one["settings"] for one in searched(distance))


def test_a_choice_on_two_concepts_holds_until_that_on_four_is_there():
    two, four = searched(distance), ("panda", "owl", "fox", "bear")
    assert choices(two)["bundled"]["npo"]["concepts"] == sorted(CONCEPTS)
    assert open_settings(two, "npo", wanted=4)
    best = (RATES[-1], STEPS[-1])
    wide = searched(lambda rate, steps: distance(rate, steps, best=best), concepts=four)
    more = [*two, *(one for one in wide if one["concept"] not in CONCEPTS)]
    found = choices(more[:-1])["bundled"]["npo"]
    assert (found["concepts"], found["settings"]) == (sorted(CONCEPTS), {"lr": 3e-4, "steps": 40})
    found = choices(wide)["bundled"]["npo"]
    assert (found["concepts"], found["settings"]) == (sorted(four), {"lr": best[0], "steps": best[1]})
    assert choices([one for one in wide if one["concept"] == "fox"])["bundled"]["npo"]["concepts"] == ["fox"]


def test_a_choice_on_earlier_weights_holds_until_the_search_on_newer_ones_is_finished():
    older = searched(distance)
    newer = [one | {"checkpoint": "new"} for one in searched(lambda r, s: distance(r, s, best=(RATES[-1], STEPS[-1])))]
    for rows, checkpoint, settings in (
        ([*older, *newer[:-1]], "abc", {"lr": 3e-4, "steps": 40}),
        ([*older, *newer], "new", {"lr": RATES[-1], "steps": STEPS[-1]}),
    ):
        found = choices(rows)["bundled"]["npo"]
        assert (found["checkpoint"], found["settings"]) == (checkpoint, settings)
        assert tuned_for(entries()["npo"], "bundled", {"bundled": {"npo": found}}).settings == settings


def test_a_refused_setting_loses():
    rows = searched(distance)
    bad = [one | refusal(3, "error: no") if one["settings"]["lr"] == 3e-4 else one for one in rows]
    known = scored(bad, "npo", wanted=2)
    assert known[3e-4, 40, TAU] == 0.0
    assert open_settings(bad, "npo", wanted=2)[0]["lr"] != 3e-4


def test_values_beside_the_best_come_next():
    ladder = (1, 2, 3, 4, 5)
    assert beside(ladder, (2, 3), {}) == [2, 3]
    assert beside(ladder, (2, 3), {2: 0.1, 3: 0.2}) == [4]
    assert beside(ladder, (2, 3), {2: 0.1, 3: 0.2, 4: 0.3}) == [5]
    assert beside(ladder, (2, 3), {2: 0.1, 3: 0.2, 4: 0.1}) == []
    assert beside(ladder, (2, 3), dict.fromkeys(ladder, 0.5)) == []
    assert beside(ladder, (2, 3), {2: 0.2, 3: 0.2}) == [4]


def test_the_league_plays_with_what_was_chosen(tmp_path):
    for one in searched(distance):
        append_row(tmp_path / command.TUNING, one)
    chosen = command._choices(tmp_path)["bundled"]["npo"]
    assert chosen["checkpoint"] == "abc"
    assert tuned_for(entries()["npo"], "bundled", {"bundled": {"npo": chosen}}).settings == {"lr": 3e-4, "steps": 40}
    assert tuned_for(entries()["npo"], "bundled", {}).settings == {}
    json.dumps(chosen)


def test_of_two_rows_of_a_cell_the_later_one_is_chosen_by(tmp_path):
    later = searched(lambda rate, steps: distance(rate, steps, best=(1e-3, 40)))
    for one in [*searched(distance), *later]:
        append_row(tmp_path / command.TUNING, one)
    found, wanted = command._choices(tmp_path)["bundled"]["npo"], choice(later, "npo", wanted=2)
    assert found["settings"] == wanted["settings"] == {"lr": 1e-3, "steps": 40}
    assert found["harmonic_mean"] == wanted["harmonic_mean"]


def test_a_search_with_other_defaults_than_todays_chooses_nothing(tmp_path):
    for one in searched(distance):
        append_row(tmp_path / command.TUNING, one | {"options": {"beta": 9.0}})
    assert command._choices(tmp_path) == {}
