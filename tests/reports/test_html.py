import re

from html.parser import HTMLParser

import pytest

from audited import DIGEST, HOSTILE, evidence, report, score
from fakes import picture

from space_cli.core.records import Run
from space_cli.reports._plot import curve
from space_cli.reports.html import Sample, render

VOID = {"meta", "img", "br", "rect", "circle", "path", "polyline"}


class Reader(HTMLParser):
    """Collects tags and checks that each one is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def test_hostile_names_and_answers_stay_text():
    reader = read(render(report(HOSTILE), evidence(HOSTILE)))
    assert "script" not in reader.tags
    assert not [value for key, value in reader.attributes if key.startswith("on")]
    assert HOSTILE in "".join(reader.words)
    sources = [value for key, value in reader.attributes if key in {"src", "href", "xlink:href"}]
    assert sources
    assert all(value.startswith("data:image/jpeg;base64,") for value in sources)


def test_the_page_is_one_file_that_may_fetch_nothing():
    page = render(report(), evidence())
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|url\(|<link|<script", page)


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_the_verdict_is_said_in_words(verdict):
    words = " ".join("".join(read(render(report(verdict=verdict), evidence())).words).split())
    assert f"Suppression tested under policy “default”: {verdict}" in words
    assert not re.search(r"deleted|certified|guarantee", words, re.IGNORECASE)


def test_equal_audits_give_equal_pages_without_time_or_host():
    first = render(report(), evidence())
    later = Run(created="2032-02-02T00:00:00+00:00", seconds=99.0, host={"machine": "other"})
    assert render(report(run=later, seconds={"forget_accuracy": 1.5}), evidence()) == first
    for secret in ("2031", "secret-host", "33.25"):
        assert secret not in first


def test_every_figure_stands_as_text_too():
    page = render(report(), evidence())
    text = "".join(read(page).words)
    for figure in (
        "90 %",
        "10 %",
        "5 % to 20 %",
        "12.5 %",
        "0.002",
        DIGEST,
        "cd" * 32,
        "ef" * 32,
        "elicitation",
    ):
        assert figure in text
    assert 'aria-label="Names the concept when asked openly: after 0.1, interval 0.05 to 0.2, before 0.9"' in page


def test_a_unit_never_stands_alone_on_the_next_line():
    page = render(report(scores={"forget_accuracy": score(control=0.25)}), evidence())
    for text in ("90 %", "10 %", "5 %", "20 %", "25 %"):
        assert f'<span class="figure">{text}</span>' in page
    assert ".figure { white-space: nowrap; }" in page


def test_columns_keep_a_width_on_a_narrow_screen():
    narrow = re.search(r"@media screen and \(max-width: 44rem\) \{\n(.*?)\n\}", render(report(), evidence()), re.DOTALL)
    assert "table { min-width: 40rem; }" in narrow[1]


def test_rules_that_decided_nothing_stand_in_a_list():
    page = render(report(passed_over=["attack_images ≤ 0.1", "rebound < 0.05"]), evidence())
    listed = re.search(r"<ul class='over code'>(.*?)</ul>", page)
    assert listed[1] == "<li>attack_images ≤ 0.1</li><li>rebound &lt; 0.05</li>"
    assert "<ul class='over code'>" not in render(report(), evidence())


def test_a_control_and_an_unknown_metric_are_shown():
    page = render(report(scores={"my_metric": score(control=0.25)}), evidence())
    assert "my metric" in page
    assert "control 25 %" in "".join(read(page).words)
    assert 'class="control" d="M' in page


def test_the_course_of_a_score_is_drawn_from_nought_to_one():
    curves = {"after": [(0.0, 0.0), (5.0, 0.25)], "control": [(0.0, 0.125), (5.0, 0.125)]}
    page = render(report(scores={"attack_relearn_images": score(curves=curves), "fluency": score()}), evidence())
    assert "after erasing from 0 at step 0 to 0.25 at step 5" in page
    assert "control, after erasing from 0.125 at step 0 to 0.125 at step 5" in page
    drawn = page.split("Scores over steps")[1]
    # A quarter of the way up the frame, whose top is 1 and whose foot is 0.
    assert 'points="62.0,96.0 276.0,74.0"' in drawn
    assert "Scores over steps" not in render(report(), evidence())


@pytest.mark.parametrize("value", [-1.23e-05, -0.000123, -123456.0])
def test_the_longest_figure_at_an_axis_is_not_cut_off(value):
    drawn = curve([0.0, 1.0], [value, 0.0], "loss")
    place, told = re.search(r'x="(\d+)" y="\d+" text-anchor="end">(-[^<]+)<', drawn).groups()
    assert told == f"{value:.3g}"
    assert int(place) >= 6.2 * len(told), "letters of 10.5 pixels are as wide in a sans-serif font"


def test_a_score_is_compared_with_its_control_at_the_same_size():
    found = score(0.9, control=0.7, parts={"at_control_size": 0.6})
    assert "Of 1 attack tried, none did better" in render(report(scores={"attack_probe": found}), evidence())


def test_training_is_drawn_for_each_finite_figure():
    rows = [{"step": step, "loss": 1.0 / (step + 1), "broken": float("nan")} for step in range(1000)]
    page = render(report(), evidence(training=rows))
    assert page.count("<polyline") == 1
    assert "loss from 1 at step" in page
    assert "to 0.001 at step 999" in page
    assert "no finite value" in page
    assert len(page) < len(render(report(), evidence())) + 12_000


def test_an_audit_without_pictures_or_scores_says_so():
    page = render(report(scores={}), evidence(samples=[]))
    read(page)
    assert "No pictures were given" in page
    assert "Nothing could be measured" in page


def test_an_empty_answer_is_visible():
    sample = Sample("forget", "panda", "p.png", "What?", "A panda.", "  ", picture("panda"))
    assert "(no words)" in render(report(), evidence(samples=[sample]))
