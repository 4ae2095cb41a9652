"""What the league's page and picture say of rows."""

import json

from PIL import Image

from benchmarks.league import __main__ as command
from benchmarks.league.entries import OURS, entries
from benchmarks.league.page import write
from benchmarks.league.picture import HIGHLIGHT, draw
from benchmarks.league.versions import MARK, options_of
from tests.benchmarks.made_rows import refused, row, with_forget


def test_json_page_and_picture_are_written(tmp_path):
    rows = [row(), row(concept="owl"), row("npo"), refused("ga"), row("siu"), row("oracle")]
    costs = [row(seconds={"select": 4.0, "erase": 3.0}), row("siu", seconds={"select": 4.0, "erase": 2.0})]
    page = write(tmp_path, rows, {}, command="python -m benchmarks.league", costs=costs)
    told = json.loads((tmp_path / "league.json").read_text())
    assert set(told) >= {"rows", "summary", "machine", "commit", "command", "paired", "costs"}
    assert told["rows"] == rows
    assert set(told["paired"]) == {"npo", "ga", "siu", "oracle"}
    assert told["paired"]["ga"]["mean"] > 0.5
    assert told["summary"]["ga"]["refused"]["mean"] == 1.0
    assert (tmp_path / "league.md").read_text() == page
    assert f"| seconds of erase over those of siu | 1.50 {MARK} | at most 3 | not known |" in page
    assert f"| {OURS} {MARK} | 4.0 | 3.0 | 2.0 | 1.50 | 1.00 | 1 |" in page
    assert "harmonic mean minus the best rival's, npo" in page
    assert (
        "the best of ga, npo, siu on the cells that they and ours share: 1. Ours is compared with it on the 1" in page
    )
    assert f"| {OURS} {MARK} | 2 | produce |" in page
    with Image.open(tmp_path / "league.png") as image:
        assert image.format == "PNG"
        assert len(image.convert("L").getcolors(256)) > 20


def test_harmonic_means_stand_side_by_side_subject_by_subject(tmp_path):
    rows = [with_forget(0.5, method="npo"), row(), row(subject="scenes"), row("siu", subject="scenes")]
    page = write(tmp_path, rows, {}, command="")
    section = page[page.index("## Harmonic mean, subject by subject") : page.index("## Ours minus")]
    told = json.loads((tmp_path / "league.json").read_text())["subjects"]
    npo = told["produce"]["npo"]["harmonic mean"]["mean"]
    assert "| entry | produce | scenes |" in section
    assert f"| npo | {npo:.3f} |  |" in section
    assert section.index(f"| {OURS} |") < section.index("| npo |")


def test_one_concept_or_two_show_nothing_to_be_above_the_best_rival(tmp_path):
    alone = [row(), with_forget(0.9, method="npo")]
    assert "| interval above 0 | no |" in write(tmp_path, alone, {}, command="")
    two = [*alone, row(concept="owl"), with_forget(0.9, method="npo", concept="owl")]
    assert "| interval above 0 | no |" in write(tmp_path, two, {}, command="")
    three = [*two, row(concept="fox"), with_forget(0.8, method="npo", concept="fox")]
    assert "| interval above 0 | yes |" in write(tmp_path, three, {}, command="")


def test_a_setting_that_was_found_on_earlier_weights_says_so(tmp_path):
    rows = [row(), row("npo", settings={"lr": 1e-3, "steps": 40})]
    found = {
        "settings": rows[1]["settings"],
        "criterion": "best",
        "harmonic_mean": 0.9,
        "concepts": ["owl"],
        "tried": 6,
        "ended": True,
    }
    own = {"checkpoint": rows[1]["checkpoint"]}
    for told, said in (
        (own, "owl |"),
        (own | {"ended": False}, "owl, the search not at its end |"),
        ({"checkpoint": "old"}, "owl; of an earlier training of the same subj"),
    ):
        page = write(tmp_path, rows, {"produce": {"npo": found | told}}, command="")
        assert f"| produce | npo | lr=0.001, steps=40 | best: 0.900, 6 tried on {said}" in page


def test_drawings_stand_in_a_section_of_their_own(tmp_path):
    drawn = [with_forget(0.6, subject="bundled"), with_forget(0.0, method="npo", subject="bundled")]
    page = write(tmp_path, [row(), with_forget(0.5, method="npo"), *drawn], {}, command="")
    told = json.loads((tmp_path / "league.json").read_text())
    assert told["summary"][OURS]["forget_accuracy"]["n"] == told["paired"]["npo"]["n"] == 1
    assert set(told["subjects"]) == {"produce"}
    assert told["paired"]["npo"]["mean"] > 0 > told["drawings"]["paired"]["npo"]["mean"]
    section = page[page.index("## The drawings") : page.index(f"## {OURS}, all figures")]
    assert f"| {OURS} {MARK} | 1 | bundled |" in section
    assert "bundled" not in page[: page.index("## Settings of the rivals")]
    assert "## The drawings" not in write(tmp_path, [row()], {}, command="")


def test_rows_of_ours_with_other_options_than_todays_are_marked(tmp_path):
    today = {name: options_of(entries()[name]) for name in (OURS, "oracle")}
    older = row(concept="owl", options=today[OURS] | {"leak": 0.5}, commit="bad")
    fresh = row(options=today[OURS])
    page = write(tmp_path, [fresh, older, row("npo")], {}, command="")
    assert f"| {OURS} {MARK} | 2 |" in page
    assert "| npo | 1 |" in page
    assert f"- {OURS} on produce: 1 of 2 rows, computed at `bad`" in page
    assert f"| produce | {OURS} | defaults | earlier defaults, those of `bad`, in 1 of 2 rows |" in page
    oracle = row("oracle", settings={"oracle": True}, options=today["oracle"])
    page = write(tmp_path, [fresh, oracle], {}, command="")
    assert MARK not in page
    assert f"| produce | {OURS} | defaults | one setting for everything |" in page
    rival = row("prompt", options={"instruction": "Forget."}, commit="bad")
    page = write(tmp_path, [fresh, rival], {}, command="")
    assert f"| prompt {MARK} | 1 |" in page
    assert "defaults, not searched; earlier defaults, those of `bad`, in 1 of 1 rows |" in page


def test_costs_are_those_of_the_weights_and_settings_of_the_table(tmp_path):
    rows = [row(), row("siu", settings={"lr": 1.0})]
    timed = {"select": 4.0, "erase": 3.0}
    others = [row(seconds=timed, checkpoint="old"), row("siu", seconds=timed)]
    page = write(tmp_path, rows, {}, command="", costs=[*others, row(seconds=timed)])
    assert (
        "| seconds of erase over those of siu | not measured for these weights and settings | at most 3 | not known |"
        in page
    )
    assert f"| {OURS} {MARK} | 4.0 | 3.0 |  |  | 1.00 | 1 |" in page
    assert "Not measured for these weights and settings: siu." in page
    nothing = write(tmp_path, rows, {}, command="", costs=others)
    assert f"Not measured for these weights and settings: {OURS}, siu." in nothing
    assert "| entry | select, s |" not in nothing


def test_costs_of_other_defaults_of_ours_do_not_count(tmp_path):
    today = options_of(entries()[OURS])
    costs = [row(seconds={"erase": 3.0}), row("siu", seconds={"erase": 2.0})]
    page = write(tmp_path, [row(options=today), row("siu")], {}, command="", costs=costs)
    assert f"Not measured for these weights and settings: {OURS}." in page
    page = write(
        tmp_path, [row(options=today), row("siu")], {}, command="", costs=[*costs, costs[0] | {"options": today}]
    )
    assert "| seconds of erase over those of siu | 1.50 | at most 3 | yes |" in page


def test_costs_of_an_earlier_version_are_left_out_where_todays_are_known(tmp_path):
    today = {"options": options_of(entries()[OURS])}
    former = {"subject": "dogs", "seconds": {"erase": 9.0}}
    rivals = [row("siu", seconds={"erase": 2.0}), row("siu", **former | {"seconds": {"erase": 1.0}})]
    rows = [row() | today, row(subject="dogs"), row("siu"), row("siu", subject="dogs")]
    costs = [row(seconds={"erase": 5.0}) | today, row(**former), *rivals]
    page = write(tmp_path, rows, {}, command="", costs=costs)
    assert "| seconds of erase over those of siu | 2.50 | at most 3 | yes |" in page


def test_costs_are_compared_on_what_both_erased(tmp_path):
    costs = [
        row(seconds={"erase": 4.0}), row("siu", seconds={"erase": 2.0}), row("siu", "owl", seconds={"erase": 20.0})
    ]  # fmt: skip
    today = options_of(entries()[OURS])
    costs[0] |= {"options": today}
    page = write(tmp_path, [row(options=today), row("siu")], {}, command="", costs=costs)
    assert "| seconds of erase over those of siu | 2.00 | at most 3 | yes |" in page
    assert f"| {OURS} |  | 4.0 | 2.0 | 2.00 | 1.00 | 1 |" in page
    assert "| siu |  | 2.0 | 2.0 | 1.00 | 1.00 | 1 |" in page
    ga = row("ga", "owl", seconds={"erase": 30.0}, peak_memory_gb=2.0)
    rows = [row(options=today), row("siu"), row("ga")]
    page = write(tmp_path, rows, {}, command="", costs=[*costs, ga, row("ga", "fox", seconds={"erase": 1.0})])
    assert "| ga |  | 30.0 | 20.0 | 1.50 | 2.00 | 1 |" in page


def test_the_page_tells_what_a_mask_let_through(tmp_path):
    masked = [
        row("mmunlearner", signals={"mask_share": 8e-7}),
        row("mmunlearner", "owl", 1, signals={"mask_share": 0.25}),
    ]
    page = write(tmp_path, [row(), *masked], {}, command="")
    assert "- mmunlearner on produce: panda 8e-07, owl (seed 1) 0.25" in page
    assert "saliency mask lets through" not in write(tmp_path, [row()], {}, command="")


def test_the_page_tells_a_search_that_is_not_finished(tmp_path):
    page = write(tmp_path, [row(), row("npo", settings={"lr": 1.0}), row("ga")], {}, command="")
    assert "| produce | npo | lr=1.0 | a search that is not finished by today's rule |" in page
    assert "| produce | ga | defaults | defaults, not searched |" in page
    other = {"settings": {"lr": 2.0}, "criterion": "", "harmonic_mean": 0.5, "tried": 1, "concepts": []}
    page = write(tmp_path, [row(), row("npo", settings={"lr": 1.0})], {"produce": {"npo": other}}, command="")
    assert "| produce | npo | lr=1.0 | an earlier state of the search |" in page


def test_a_selection_refused_for_all_is_told_apart(tmp_path):
    lost = [refused(name, "owl") | {"refused_by": "select"} for name in (OURS, "npo")]
    page = write(tmp_path, [row(), with_forget(0.5, method="npo"), *lost], {}, command="")
    apart = page[page.index("## Without the concepts") : page.index("## Goals")]
    assert "- owl (produce, seed 0): error: too much hint: less" in apart
    assert f"| {OURS} {MARK} | 1 | produce | 0.852 |" in apart
    assert "| npo | +0.1174 |" in apart
    told = write(tmp_path, [row(insisted=True), row("npo")], {}, command="")
    assert "took panda (produce) for unknown" in told
    assert "## Without" not in write(tmp_path, [row(), refused("npo")], {}, command="")


def test_the_picture_fills_ours_where_it_stands(tmp_path):
    at = {"forgotten": {"mean": 0.5, "low": 0.5, "high": 0.5}, "retained": {"mean": 0.5, "low": 0.5, "high": 0.5}}
    draw({"npo": {}, OURS: at}, OURS, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.getpixel((90 + 360, 50 + 360)) == HIGHLIGHT


def test_no_row_at_all_still_makes_a_page(tmp_path):
    assert command.main(["--table", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "league.json").read_text())["rows"] == []
