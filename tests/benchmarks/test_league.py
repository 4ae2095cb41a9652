from dataclasses import replace

import numpy as np
import pytest

from benchmarks.league import cells, scoring, signals
from benchmarks.league.entries import OURS, RIVALS, SEARCHED, UNLIMITED, entries
from benchmarks.league.page import current, overview
from benchmarks.league.running import Runner, every
from benchmarks.league.subjects import Job
from benchmarks.league.versions import of_today, options_of
from benchmarks.tables import append_row, figures_of, read_rows, spread, summarise, table, with_spread
from space_cli.core.recipe import Concept
from tests.benchmarks.made_rows import Drawn, refused, row, with_forget

JOBS = [Job(Drawn(), Concept(name=name, kind="animal"), 0) for name in ("panda", "owl")]


def test_the_harmonic_mean_is_that_of_four_parts_and_counts_no_gain_on_the_retained():
    slow = 4 / (1 / 0.8 + 1 / 0.9 + 1 / 0.75 + 1 / 1.0)
    assert scoring.figures(row())[scoring.HARMONIC] == pytest.approx(slow)
    assert scoring.figures(with_forget(1.0))[scoring.HARMONIC] == 0.0


def test_what_was_never_right_cannot_be_lost():
    made = row()
    made["scores"]["neighbour_accuracy"] |= {"before": 0.0, "after": 0.0}
    slow = 3 / (1 / 0.8 + 1 / 0.9 + 1 / 0.75)
    assert scoring.figures(made)[scoring.HARMONIC] == pytest.approx(slow)


def test_figures_have_bands_and_the_conditional_share():
    made = row()
    made["scores"]["forget_accuracy"]["note"] = "change -0.97; of 120 answers that named it before, 3.3% still do"
    found = scoring.figures(made)
    assert found["neighbours 1 to 5, relative"] == pytest.approx(0.8)
    assert found["forget_accuracy, of answers that named it before"] == pytest.approx(0.033)
    assert found["refused"] == 0.0


def test_a_refusal_counts_as_no_erasure():
    kept, alone = scoring.completed([refused("npo"), row("ga"), refused("npo", "owl")])[::2]
    assert kept["scores"]["forget_choice_accuracy"]["after"] == 0.9
    assert scoring.figures(kept)[scoring.HARMONIC] == 0.0
    assert scoring.figures(kept)["retained"] == 1.0
    assert scoring.figures(alone)["forget_accuracy"] == 1.0
    assert scoring.figures(alone)["refused"] == 1.0
    assert kept["reason"] == "error: too much hint: less"


def test_a_refusal_keeps_what_was_named_before():
    other = row("ga")
    other["scores"]["forget_accuracy"]["before"] = 0.6
    found = scoring.figures(scoring.completed([refused("npo"), other])[0])
    assert found[scoring.HARMONIC] == pytest.approx(4 / (1 / 0.4 + 1 / 0.1 + 1 + 1))


def test_a_refusal_counts_as_no_erasure_in_every_column():
    """Else a column of a method that is refused often would be the mean of the cells that it was not refused on."""
    other = row("ga")
    other["scores"] |= {
        "generality": {"before": 0.1, "after": 0.9, "note": ""}, "retain_kl": {"before": 0.0, "after": 0.3, "note": ""},
    }  # fmt: skip
    whole = scoring.completed([refused("npo"), row("npo", "owl"), other])
    found, theirs = scoring.figures(whole[0]), scoring.figures(other)
    assert (found["generality"], found["retain_kl"]) == (0.1, 0.0)
    assert found["neighbours 1 to 5"] == 0.5
    assert found["neighbours 1 to 5, relative"] == 1.0
    assert found[scoring.STILL_NAMED] == 1.0
    assert {*theirs} - {"seconds of erase", "peak memory, GB", "steps"} <= {*found}


def test_one_concept_or_two_have_no_interval():
    alone, two, three = (
        scoring.summary_of([row(concept=name) for name in names], [OURS])[OURS][scoring.HARMONIC]
        for names in (["panda"], ["panda", "owl"], ["panda", "owl", "fox"])
    )
    assert with_spread(alone) == with_spread(two) == f"{two['mean']:.3f}"
    assert with_spread(three) == f"{three['mean']:.3f} ({three['low']:.3f} to {three['high']:.3f})"
    assert "| - |" in table({"one": alone})[-1]
    (against,) = scoring.paired([row(), with_forget(0.9, method="npo")], OURS, ["npo"]).values()
    assert (against["units"], spread(against)) == (1, "")


def test_the_paired_difference_is_that_of_shared_cells():
    ours = [with_forget(v, concept=c, seed=s) for v, c, s in ((0.1, "panda", 0), (0.3, "panda", 1), (0.2, "owl", 0))]
    theirs = [with_forget(v, method="npo", concept=c) for v, c in ((0.5, "panda"), (0.2, "owl"), (0.0, "fox"))]
    found = scoring.paired([*ours, *theirs], OURS, ["npo", "ga"])

    def slow(forget):
        return 4 / (1 / (1 - forget) + 1 / 0.9 + 1 / 0.75 + 1)

    assert set(found) == {"npo"}
    assert found["npo"]["mean"] == pytest.approx((slow(0.1) - slow(0.5) + 0) / 2, abs=1e-5)
    assert found["npo"]["n"] == 2
    assert "low" not in found["npo"]
    ours += [row(concept=c) for c in ("fox", "cat")]
    theirs += [row("npo", "cat")]
    found = scoring.paired([*ours, *theirs], OURS, ["npo"])["npo"]
    assert found["low"] < 0 < found["mean"] < found["high"], "a difference is no share"


def test_the_summary_draws_concepts_of_subjects():
    rows = [row(), row(seed=1), row(subject="scenes"), row(concept="owl")]
    found = scoring.summary_of(rows, [OURS])[OURS]
    assert found[scoring.HARMONIC]["n"] == 4
    by_concept = summarise(rows)["forget_accuracy"]
    assert (by_concept["mean"], by_concept["units"]) == (0.2, 2)
    uneven = [with_forget(0.0), with_forget(0.4, seed=1), with_forget(0.8, concept="owl")]
    assert scoring.summary_of(uneven, [OURS])[OURS]["forget_accuracy"]["mean"] == pytest.approx(0.5)
    assert scoring.summary_of(uneven, [OURS])[OURS]["forget_accuracy"]["worst"] == pytest.approx(0.8)


def test_the_best_rivals_come_first():
    rows = [with_forget(v, method=m) for m, v in (("npo", 0.5), ("ga", 0.1), ("siu", 0.3))]
    assert scoring.best(rows, OURS, RIVALS, 2) == ["ga", "siu"]


def test_rivals_are_ranked_on_the_cells_that_all_and_ours_share():
    rows = [with_forget(v, method=m) for m, v in ((OURS, 0.4), ("ga", 0.3), ("siu", 0.2))]
    rows += [with_forget(0.0, method="ga", concept="owl"), with_forget(0.9, method="siu", concept="fox")]
    assert scoring.best(rows, OURS, RIVALS, 1) == ["siu"]
    assert scoring.shared(rows, (OURS, *RIVALS)) == {("produce", "abc", "panda", 0)}
    assert scoring.best([*rows, row("npo", "owl")], OURS, RIVALS, 1) == []


def test_correlations_are_those_of_the_ranks():
    values = (3.0, 1.0, 2.0, 2.0, 9.0)
    forgets = (0.1, 0.9, 0.4, 0.6, 0.0)
    rows = [
        with_forget(f, concept=str(i), signals={"holdout_nll": v})
        for i, (v, f) in enumerate(zip(values, forgets, strict=True))
    ]
    found = signals.correlations([*rows, refused("npo")])
    ranks = [4, 1, 2.5, 2.5, 5], [2, 5, 3, 4, 1]
    assert found["holdout_nll"]["n"] == 5
    assert found["holdout_nll"]["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-4)
    assert found["holdout_nll"]["pearson"] == pytest.approx(np.corrcoef(values, forgets)[0, 1], abs=1e-4)
    assert "pushed_nll" not in found


def test_a_share_of_two_values_goes_with_nothing():
    rows = [with_forget(0.1 * (i == 3), concept=str(i), signals={"holdout_nll": float(i)}) for i in range(6)]
    assert signals.correlations(rows) == {}
    assert "nothing that a signal could go with" in signals.signal_table({})[0]


def test_a_correlation_tells_what_is_left_of_it_without_the_row_that_it_rests_on():
    values, forgets = (0.1, 0.3, 0.2, 0.3, 0.2, 3.0), (0.01, 0.0, 0.004, 0.02, 0.0, 0.9)
    found = {}
    for sign in (1, -1):
        rows = [
            with_forget(f, concept=str(i // 2), seed=i % 2, signals={"holdout_nll": sign * v})
            for i, (v, f) in enumerate(zip(values, forgets, strict=True))
        ]
        found[sign] = signals.correlations(rows)["holdout_nll"]
    without = np.corrcoef(values[:5], forgets[:5])[0, 1]
    one, other = found[1], found[-1]
    assert one["pearson"] > 0.99
    assert one["pearson, leaving one out"] == pytest.approx(without, abs=1e-4)
    assert other["pearson, leaving one out"] == pytest.approx(-without, abs=1e-4)
    assert one["spearman, leaving one out"] < one["spearman"]
    assert (one["n"], one["named"], one["named_concepts"]) == (6, 3, 3)
    line = signals.signal_table({"holdout_nll": one})[2]
    assert line.endswith("| 6 | 3 | 3 |")
    assert f"| {one['pearson']:+.3f} | {without:+.3f} |" in line


def test_every_method_plays_and_only_ours_keeps_its_budgets():
    found = entries()
    assert set(found) >= {OURS, "oracle", "space-paper", "prompt", *RIVALS}
    assert found["oracle"].settings == {"oracle": True}
    assert found["oracle"].images
    assert not found[OURS].images
    assert [name for name, entry in found.items() if entry.limited] == [OURS, "oracle"]
    assert set(SEARCHED) == {*found} - {OURS, "oracle", "prompt"}
    assert UNLIMITED[::2] == ("--max-change", "--max-retain-kl", "--max-neighbour-loss")


def worker(asked, *, fails=()):
    def work(entry, job, measures):
        asked.append((entry.name, job.concept.name))
        if (entry.name, job.concept.name) in fails:
            raise cells.CellFailure("exit code 1: a bug")
        return row() | cells.named(entry, job)

    return work


def test_a_cell_is_computed_once(tmp_path):
    store, asked = tmp_path / "rows.jsonl", []
    known = entries()
    wanted = every([known["npo"], known["ga"]], JOBS)
    first = Runner(store, cells.Measures(), work=worker(asked, fails={("ga", "owl")}))
    assert len(first.run(wanted)) == 3
    assert len(first.failures) == 1
    assert "a bug" in first.failures[0]
    second = Runner(store, cells.Measures(), work=worker(asked))
    assert len(second.run(wanted)) == 4
    assert asked == [("npo", "panda"), ("ga", "panda"), ("npo", "owl"), ("ga", "owl"), ("ga", "owl")]
    other = known["npo"].with_settings({"lr": 1e-3})
    assert second.of(every([other], JOBS)) == []
    assert len(second.run(every([other], JOBS))) == 2


def test_redo_computes_anew_and_the_later_row_counts(tmp_path):
    store, asked = tmp_path / "rows.jsonl", []
    wanted = every([entries()["npo"]], JOBS)
    Runner(store, cells.Measures(), work=worker(asked)).run(wanted)
    again = Runner(store, cells.Measures(), frozenset({"npo"}), work=worker(asked))
    again.run(wanted)
    again.run(wanted)
    assert len(asked) == 4
    assert len(read_rows(store)) == 4
    assert len(Runner(store, cells.Measures()).rows) == 2


def test_a_row_of_other_options_than_todays_is_computed_anew(tmp_path):
    store, asked = tmp_path / "rows.jsonl", []
    known = entries()
    wanted = every([known[OURS], known["npo"]], JOBS[:1])
    for entry, job in wanted:
        append_row(store, row() | {k: v for k, v in cells.named(entry, job).items() if k != "options"})
    runner = Runner(store, cells.Measures(), work=worker(asked))
    assert [one["method"] for one in runner.of(wanted)] == ["npo"]
    assert len(runner.run(wanted)) == 2
    assert asked == [(OURS, "panda")]
    Runner(store, cells.Measures(), work=worker(asked)).run(wanted)
    assert asked == [(OURS, "panda")]
    others = options_of(known["npo"]) | {"beta": 9.0}
    append_row(store, row() | cells.named(known["npo"], JOBS[0]) | {"options": others})
    assert Runner(store, cells.Measures()).of(wanted[1:]) == [], "a rival of other defaults is another rival"
    ablation = replace(known[OURS], name="leak = 0.1").with_settings({"leak": 0.1})
    made = row("leak = 0.1", settings={"leak": 0.1})
    assert not of_today(made)
    assert of_today(made | {"options": options_of(ablation)})
    assert not of_today(made | {"options": options_of(known[OURS])})
    assert not of_today(row("gone = 0", settings={"gone": 0}, options={}))


def test_the_table_takes_the_newest_weights_and_settings():
    old, new = row("npo"), row("npo", settings={"lr": 1.0})
    rows = [row("ga", checkpoint="old"), old, new, row("npo", "owl"), row("npo", "owl", settings={"lr": 1.0}), row()]
    assert current(rows) == [new, rows[4], rows[5]]


def test_what_a_refusal_did_not_spend_is_in_no_mean():
    assert {"peak memory, GB", "steps"} & set(figures_of(refused("ga"))) == set()
    found = scoring.summary_of(scoring.completed([row("ga"), refused("ga", "owl")]), ["ga"])["ga"]
    assert (found["peak memory, GB"]["mean"], found["steps"]["mean"]) == (1.0, 3.0)


def test_general_skills_are_told_relative_to_before():
    """Rows do not all count the same skills, so that what they keep of them is alike and the shares are not."""
    rows = [row(), row(concept="owl")]
    for made, before in zip(rows, (0.8, 0.5), strict=True):
        made["scores"]["specificity"] = {"before": before, "after": 0.9 * before, "control": None, "note": ""}
    found = scoring.summary_of(rows, [OURS])
    assert found[OURS]["specificity, relative"]["mean"] == pytest.approx(0.9)
    head, *_, line = overview(found, rows)
    place = head.split(" | ").index("general, relative")
    assert line.split(" | ")[place] == "0.900"
