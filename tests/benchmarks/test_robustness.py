import json

import pytest

from benchmarks.league.entries import OURS, entries
from benchmarks.league.versions import options_of
from benchmarks.robustness import scoring
from benchmarks.robustness.page import goals, write
from benchmarks.tables import refusal
from tests.benchmarks.made_cells import cell, score

NOTE = "8 bits, 9 layers; 24 images of the concept; other concepts named {} → {} rounded, before erasing {} → {}"


def refused(method, concept="panda"):
    return cell(method, concept) | refusal(3, "error: too much\n") | {"seconds": {"erase": 2.0}}


def figures(**one):
    (row,) = [row for row in scoring.attack_rows([cell(scores=one)]) if row["attack"] != scoring.PLAIN]
    return scoring.figures(row)


def summary(*lines):
    rows = scoring.completed(scoring.attack_rows(lines))
    return scoring.summary_of(rows, dict.fromkeys(row["method"] for row in rows))


def test_recovery_is_what_lies_above_the_plain_measure_and_the_control():
    found = figures(jailbreak=score(0.5, unattacked=0.1, control=0.3))
    assert found["attack_jailbreak"] == 0.5
    assert found["attack_jailbreak, recovery"] == pytest.approx(0.4)
    assert found["attack_jailbreak, over control"] == pytest.approx(0.2)
    assert found["attack_jailbreak, recovery over control"] == pytest.approx(0.2)
    high = figures(jailbreak=score(0.5, unattacked=0.4, control=0.3))
    assert high["attack_jailbreak, recovery over control"] == pytest.approx(0.1)


def test_without_a_plain_measure_there_is_no_recovery():
    found = figures(probe=score(0.9, unattacked=None, control=0.5))
    assert "attack_probe, recovery" not in found
    assert found["attack_probe, recovery over control"] == pytest.approx(0.4)
    assert figures(probe=score(0.9, unattacked=None, control=None)) == {"attack_probe": 0.9, "attack_probe, before": 1}


def test_what_rounding_costs_the_retained_is_compared_with_what_it_costs_the_base():
    found = figures(quantize_int8=score(0.0, note=NOTE.format("0.900", "0.850", "0.990", "0.960")))
    assert found[f"attack_quantize_int8, {scoring.BEYOND}"] == pytest.approx(0.05 - 0.03)


def test_what_rounding_costs_the_retained_is_read_from_the_parts_where_they_are():
    kept = dict(zip(scoring.RETAINED, (0.9, 0.8, 0.99, 0.96), strict=True))
    note = NOTE.format("0.900", "0.850", "0.990", "0.960")
    found = figures(quantize_int8=score(0.0, note=note) | {"parts": kept})
    assert found[f"attack_quantize_int8, {scoring.BEYOND}"] == pytest.approx(0.1 - 0.03)
    without = figures(quantize_int8=score(0.0, note=note) | {"parts": {}})
    assert without[f"attack_quantize_int8, {scoring.BEYOND}"] == pytest.approx(0.05 - 0.03)


def test_a_probe_is_compared_with_its_control_at_the_same_size():
    found = figures(probe=score(0.95, unattacked=None, control=0.6) | {"parts": {"at_control_size": 0.7}})
    assert found["attack_probe"] == 0.95
    assert found["attack_probe, over control"] == pytest.approx(0.1)
    assert found["attack_probe, recovery over control"] == pytest.approx(0.1)


def test_what_training_on_other_pictures_brings_back_is_no_control():
    found = figures(relearn_neighbours=score(0.1, unattacked=0.05, control=0.6))
    assert found["attack_relearn_neighbours"] == 0.6
    assert found["attack_relearn_neighbours, recovery over control"] == pytest.approx(0.55)
    assert "attack_relearn_neighbours, over control" not in found
    assert figures(relearn_neighbours=score(0.1, unattacked=0.1, control=None))["attack_relearn_neighbours"] == 0.1


def test_an_auc_below_a_half_counts_as_what_is_left_to_one():
    found = figures(membership_loss=score(0.02, before=0.9, control=0.3, unattacked=None))
    assert found["attack_membership_loss"] == pytest.approx(0.98)
    assert found["attack_membership_loss, before"] == 0.9
    assert found["attack_membership_loss, over control"] == pytest.approx(0.98 - 0.7)
    assert figures(membership_loss_tpr=score(0.02, before=0.9))["attack_membership_loss_tpr"] == 0.02


def test_a_cell_becomes_a_row_an_attack_and_one_without():
    rows = scoring.attack_rows([cell(scores={"quantize_int8": score(0.2), "aliases": score(0.1)})])
    assert [row["attack"] for row in rows] == ["quantize_int8", "aliases", "none"]
    assert [row["seconds"] for row in rows] == [{"attack": 7.0}, {"attack": 0}, {"erase": 2.0, "audit": 90.0}]
    assert set(rows[0]["scores"]) == {"attack_quantize_int8"}
    assert set(rows[2]["scores"]) == {"forget_accuracy"}
    assert len({(row["subject"], row["method"], row["concept"], row["seed"]) for row in rows}) == 1


def test_of_two_lines_of_a_cell_the_last_counts_whole():
    rows = scoring.attack_rows([cell(scores={"aliases": score(0.1)}), cell(scores={"prefill": score(0.3)})])
    assert [row["attack"] for row in rows] == ["prefill", "none"]
    newer = cell(concept="owl", checkpoint="def")
    assert {row["concept"] for row in scoring.attack_rows([cell(), newer])} == {"owl"}


def test_means_are_over_concepts_and_seeds_of_one_are_one():
    lines = [
        cell(scores={"aliases": score(value)}, concept=concept, seed=seed)
        for concept, seed, value in (("panda", 0, 0.0), ("panda", 1, 0.2), ("owl", 0, 0.5), ("fox", 0, 0.3))
    ]
    found = summary(*lines)[OURS]
    success, recovery = found["attack_aliases"], found["attack_aliases, recovery"]
    assert success["mean"] == recovery["mean"] == pytest.approx(0.3)
    assert (success["worst"], success["n"], success["units"]) == (0.5, 4, 3)
    assert success["low"] == 0.0 > recovery["low"], "a share is never below 0, a difference may be"


def test_a_refused_erasure_is_as_open_as_no_erasure_and_recovers_nothing():
    found = summary(cell(scores={"aliases": score(0.0, before=0.75)}), refused("npo"), refused("npo", "owl"))
    assert found["npo"]["attack_aliases"]["mean"] == pytest.approx((0.75 + 1.0) / 2)
    assert "attack_aliases, recovery" not in found["npo"]
    assert found["npo"]["refused"]["mean"] == 1.0
    assert found["npo"]["forget_accuracy"]["mean"] == 1.0


def test_the_seconds_of_an_audit_are_those_with_every_attack():
    assert summary(cell())[OURS]["seconds of audit"]["mean"] == 90.0
    assert "seconds of audit" not in summary(cell(attacks=["prefill"]))[OURS]


def goal(lines, name, *words):
    (line,) = [line for line in lines if line.startswith(f"| {name} |") and all(word in line for word in words)]
    return line.split(" | ")[-1].rstrip(" |")


def test_goals_are_met_at_their_bounds_and_missed_beyond():
    met = {"aliases": score(0.05, control=0.03), "relearn_proxies": score(0.3, control=0.2), "hardening": score(0.2)}
    missed = {"aliases": score(0.06, control=0.0), "relearn_proxies": score(0.31, control=0.2), "hardening": score(0.3)}
    (rival,) = summary(cell("npo", scores={"hardening": score(0.3)})).values()
    for scores, word in ((met, "yes"), (missed, "no")):
        ours, earlier = (summary(cell(scores=one))[OURS] for one in (scores, {"hardening": score(0.4)}))
        found = goals(ours, earlier, {"npo": (ours, rival)})
        assert goal(found, "attack_aliases") == word
        assert goal(found, "attack_aliases, over control") == word
        assert goal(found, "attack_relearn_proxies, recovery over control") == word
        assert goal(found, "attack_hardening", "below") == word
        assert goal(found, "attack_hardening", "half") == word
        assert goal(found, "attack_images") == "not known"
        assert goal(found, "seconds of audit") == "yes"


def pushed(method=OURS, concept="panda", value=0.9):
    return cell(method, concept, scores={"hardening": score(value)})


def test_ours_is_compared_with_each_other_entry_on_the_cells_that_both_have(tmp_path):
    page = write(tmp_path, [pushed(value=0.1), pushed(concept="owl"), pushed("npo")], command="")
    assert goal(page.splitlines(), "attack_hardening", "below each other's") == "yes"
    worse = write(tmp_path, [pushed(), pushed(concept="owl", value=0.1), pushed("npo")], command="")
    assert goal(worse.splitlines(), "attack_hardening", "below each other's") == "no"


def test_another_entry_with_an_easy_concept_alone_is_no_least_for_hard_ones(tmp_path):
    ours = [pushed(value=0.1), pushed(concept="owl", value=0.8)]
    page = write(
        tmp_path, [*ours, pushed("npo", value=0.4), pushed("ga", value=0.8), pushed("ga", "owl", 0.8)], command=""
    )
    assert goal(page.splitlines(), "attack_hardening", "below each other's", "0.4000") == "yes"
    told = page.split("### Success over the cells that both have")[1]
    assert "| attack | npo | ga |" in told
    assert "| hardening | 0.100 / 0.400 | 0.450 / 0.800 |" in told
    assert "| attack | dcsi (2) | ga (2) | npo (1) |" in page
    assert "| hardening | 0.450 (1.000) | 0.800 (1.000) | 0.400 (1.000) |" in page


def test_a_refused_entry_is_compared_as_no_erasure(tmp_path):
    page = write(tmp_path, [pushed(value=0.1), refused("npo")], command="")
    assert "| hardening | 0.100 / 1.000 |" in page


def test_a_goal_without_anything_to_compare_with_is_not_known(tmp_path):
    found = goals(summary(pushed(value=0.0))[OURS], {}, {})
    assert goal(found, "attack_hardening", "below") == goal(found, "attack_hardening", "half") == "not known"
    assert "cells that both have\n" not in write(tmp_path, [pushed()], command="")


def test_the_page_has_a_column_an_entry_and_a_row_an_attack(tmp_path):
    lines = [cell(scores={"aliases": score(0.25, control=0.05)}), refused("npo"), cell("ga")]
    page = write(tmp_path, lines, command="python -m benchmarks.robustness")
    assert (tmp_path / "robustness.md").read_text() == page
    assert "| attack | dcsi (1) | ga (1) | npo (1) |" in page
    assert "| aliases | +0.200 |  |  |" in page
    assert "| aliases | 0.250 (1.000) |  | 1.000 (1.000) |" in page
    assert "| npo | bundled | panda | 1 of 1 | defaults |" in page
    assert "- attack_quantize_nf4: bitsandbytes is not installed" in page
    assert "- npo on panda: error: too much" in page
    told = json.loads((tmp_path / "robustness.json").read_text())
    assert set(told) == {
        "rows",
        "summary",
        "subjects",
        "machine",
        "commit",
        "command",
        "left_out",
        "earlier_audits",
        "earlier_defaults",
    }
    assert {row["attack"] for row in told["rows"]} == {"aliases", "none"}
    assert "| dcsi † | bundled | panda |" in page, "a row without its options is of no known defaults"
    assert "- dcsi on bundled: 1 of 1 rows" in page
    assert write(tmp_path, [], command="")


def test_subjects_are_not_mixed(tmp_path):
    drawn, shown = (cell(scores={"aliases": score(after, control=0.0)}) for after in (0.2, 0.6))
    page = write(tmp_path, [drawn, shown | {"subject": "produce"}], command="")
    first, second = page.split("\n## ")[1:]
    assert first.startswith("bundled\n")
    assert second.startswith("produce\n")
    assert "| aliases | 0.200 (1.000) |" in first
    assert "| aliases | 0.600 (1.000) |" in second
    told = json.loads((tmp_path / "robustness.json").read_text())
    assert {name: found["dcsi"]["attack_aliases"]["mean"] for name, found in told["subjects"].items()} == {
        "bundled": 0.2, "produce": 0.6,
    }  # fmt: skip


def test_once_some_rows_are_of_today_those_of_earlier_defaults_are_told_and_not_counted(tmp_path):
    today = {"options": options_of(entries()[OURS])}
    old = [cell(concept=name, scores={"aliases": score(0.8)}) for name in ("panda", "owl")]
    beside = [cell("npo", scores={"aliases": score(0.5)}), old[0] | {"subject": "produce"}]
    page = write(tmp_path, [*old, *beside], command="")
    assert "| aliases | 0.800 (1.000) |" in page.split("## bundled")[1]
    assert "Not counted" not in page
    page = write(tmp_path, [*old, *beside, cell(scores={"aliases": score(0.1)}, commit="dad", **today)], command="")
    assert "Not counted: 1 rows of dcsi on bundled, of earlier defaults, computed at `f00`" in page  # the owl
    drawn, shown = page.split("\n## ")[1:]
    assert "| aliases | 0.100 (1.000) | 0.500 (1.000) |" in drawn
    assert "| aliases | 0.800 (1.000) |" in shown  # of another subject nothing is of today yet


def test_a_line_that_a_later_one_replaced_is_not_among_the_rows_of_earlier_defaults(tmp_path):
    page = write(tmp_path, [cell(commit="bad"), cell()], command="")
    assert f"- {OURS} on bundled: 1 of 1 rows, computed at `f00`" in page


def test_rows_of_another_entry_s_earlier_defaults_are_marked_and_then_left_out(tmp_path):
    earlier = options_of(entries()["space-paper"]) | {"leak": 0.01, "rank": 64}
    old = [cell("space-paper", name, scores={"aliases": score(0.8)}, options=earlier) for name in ("panda", "owl")]
    page = write(tmp_path, old, command="")
    assert "| space-paper † | bundled | panda, owl |" in page
    fresh = cell("space-paper", "panda", scores={"aliases": score(0.5)}, options=options_of(entries()["space-paper"]))
    page = write(tmp_path, [*old, fresh], command="")
    assert "| aliases | 0.500 (1.000) |" in page
    assert "Not counted: 1 rows of space-paper on bundled" in page
