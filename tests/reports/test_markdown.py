"""The Markdown documents, read by a Markdown parser."""

import re

import pytest

from audited import HOSTILE, evidence, report, score
from markdown_it import MarkdownIt

from space_cli.reports import card, summary
from space_cli.reports._words import LIMITS

FORMS = pytest.mark.parametrize("form", [card, summary], ids=lambda form: form.FILE)
NASTY = HOSTILE + " | ![x](http://x) [y](http://y) `code` **b** # h $m$ @user"


def tokens(form, name="panda", **more):
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    return parser.parse(form.render(report(name, **more), evidence(name).receipt))


def inline(found):
    return [child for token in found for child in token.children or ()]


@FORMS
@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_the_verdict_stands_first_and_in_bold(form, verdict):
    found = tokens(form, verdict=verdict)
    bold = next(at for at, token in enumerate(inline(found)) if token.type == "strong_open")
    assert inline(found)[bold + 1].content == f"Suppression tested under policy “default”: {verdict}"


@FORMS
def test_hostile_text_stays_text(form):
    plain, nasty = tokens(form), tokens(form, NASTY)
    assert [token.type for token in plain] == [token.type for token in nasty]
    kinds = {token.type for token in inline(nasty)}
    assert not kinds & {"link_open", "image", "html_inline"}
    assert "".join(token.content for token in inline(nasty)).count("alert('x')") >= 2


@FORMS
def test_every_row_of_a_table_is_as_wide_as_its_head(form):
    text = form.render(report(NASTY), evidence(NASTY).receipt)
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.replace("\\|", "").count("|") for row in rows}) <= 1


def test_the_card_tells_figures_limits_and_digests():
    text = card.render(report(verdict="inconclusive"), evidence().receipt)
    for part in (*LIMITS, "90 %", "5 % to 20 %", "`forget_accuracy`", "cd" * 32, "ab" * 32, "? inconclusive"):
        assert part in text
    assert "Gives the name to a fresh attack: because of panda" in text


@FORMS
def test_an_attack_has_its_control_and_the_plain_measure_beside_it(form):
    attacked = {"attack_prefill": score(0.5, unattacked=0.125, control=0.375), "forget_accuracy": score()}
    text = form.render(report(scores=attacked), evidence().receipt)
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    head = next(row for row in rows if "Score" in row)
    told = dict(zip(head, next(row for row in rows if "`attack_prefill`" in row[1]), strict=True))
    assert (told["after"], told["unattacked"], told["control"]) == ("50 %", "12.5 %", "37.5 %")
    plain = dict(zip(head, next(row for row in rows if "`forget_accuracy`" in row[1]), strict=True))
    assert (plain["unattacked"], plain["control"]) == ("–", "–")
    assert "unattacked" not in form.render(report(), evidence().receipt)


def test_the_card_is_a_section_without_front_matter():
    text = card.render(report(), evidence().receipt)
    assert text.startswith("## Concept erasure\n")
    assert "\n# " not in text


def test_a_model_card_folds_away_the_rules_that_decided_nothing():
    card_text = card.render(report(passed_over=["a_b ≤ 0.1", "c < 0.2"]), evidence().receipt)
    folded = re.search(r"<details><summary>(.*?)</summary>\n\n(.*?)\n\n</details>", card_text, re.DOTALL)
    assert folded[1].endswith("not measured: 2 in all")
    assert folded[2] == "- a\\_b ≤ 0.1\n- c \\< 0.2"
    assert "<details>" not in card.render(report(), evidence().receipt)
