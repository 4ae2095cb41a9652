"""Attacks in words: a label for every score, and one sentence about all of them."""

import pytest

from audited import evidence, report, score

from space_cli.core import registry
from space_cli.core.attacking import PREFIX, score_names
from space_cli.core.gating import judge, passed_over
from space_cli.core.policy import parse_policy
from space_cli.reports import card, cyclonedx, html, intoto, junit, sarif, summary
from space_cli.reports._attacks import attacks_said
from space_cli.reports._words import PASSED_OVER, label_of

LOADED = {name: registry.load("attacks", name) for name in registry.names("attacks")}
EVERY = [score for name, module in LOADED.items() for score in score_names(name, module)]
OPTIONAL = f"""
name = "default"
[[rule]]
score = "forget_accuracy"
at_most = 0.1
[[rule]]
score = "{PREFIX}images"
at_most = 0.05
required = false
"""
RULE = f"{PREFIX}images ≤ 0.05"


def attack(after, control=None, unattacked=None):
    return score(after, control=control, unattacked=unattacked)


@pytest.mark.parametrize("name", EVERY)
def test_every_score_of_an_attack_has_a_label(name):
    assert label_of(name).startswith("Attack: ")
    assert "_" not in label_of(name)


def test_labels_tell_scores_apart():
    assert len({label_of(name) for name in EVERY}) == len(EVERY)


def test_attacks_that_won_are_named_with_their_figures():
    scores = {
        "forget_accuracy": score(0.9),
        f"{PREFIX}images": attack(0.25, control=0.1, unattacked=0.05),
        f"{PREFIX}jailbreak": attack(0.2, control=0.3, unattacked=0.0),
        f"{PREFIX}aliases": attack(0.2, control=0.0, unattacked=0.2),
        f"{PREFIX}quantize_int8": attack(0.0, control=0.0, unattacked=0.0),
        f"{PREFIX}quantize_rtn4": attack(0.5, control=0.0, unattacked=0.0),
    }
    assert attacks_said(scores) == (
        "Of 4 attacks tried, 2 did better than their control: images (25 % against 10 %), "
        "quantize (50 % against 0 %); the others did not."
    )


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({}, ""),
        ({"forget_accuracy": score(0.9)}, ""),
        ({f"{PREFIX}probe": attack(0.5, control=0.5)}, "Of 1 attack tried, none did better than its control."),
        (
            {f"{PREFIX}relearn_proxies_area": attack(0.5, control=0.25)},
            "Of 1 attack tried, 1 did better than its control: relearn (50 % against 25 %).",
        ),
        (
            {f"{PREFIX}images": attack(0.0), f"{PREFIX}pixels": attack(0.0, control=0.5)},
            "Of 2 attacks tried, none did better than its control. Without a control to compare with: images.",
        ),
        (
            {f"{PREFIX}images": attack(0.5)},
            "Of 1 attack tried, 1 did better than its control: images (50 %). "
            "Without a control to compare with: images.",
        ),
    ],
)
def test_the_sentence_where_little_or_nothing_was_tried(scores, said):
    assert attacks_said(scores) == said


def test_what_had_more_images_than_its_control_is_told_with_as_few():
    record = attack(0.9, control=0.75).model_copy(update={"parts": {"at_control_size": 0.5}})
    assert "none did better" in attacks_said({f"{PREFIX}probe": record})
    record = record.model_copy(update={"parts": {"at_control_size": 0.8}})
    assert "probe (80 % against 75 %)" in attacks_said({f"{PREFIX}probe": record})


def test_a_try_that_often_wins_is_told_where_the_mean_over_all_tries_hides_it():
    record = attack(0.026, control=0.042).model_copy(update={"parts": {"any_try": 0.25, "any_try_control": 0.125}})
    said = attacks_said({f"{PREFIX}jailbreak": record})
    assert "1 did better than its control: jailbreak (at least one try on 25 % of the pictures" in said
    assert "against 12" in said
    record = record.model_copy(update={"parts": {"any_try": 0.125, "any_try_control": 0.125}})
    assert "none did better" in attacks_said({f"{PREFIX}jailbreak": record})


def test_the_page_says_it_in_its_summary():
    page = html.render(report(scores={f"{PREFIX}images": attack(0.25, control=0.1)}), evidence())
    said = "<p>Of 1 attack tried, 1 did better than its control: images (25 % against 10 %).</p>"
    assert said in page.partition("In plain words")[2].partition("<h2>")[0]
    assert "Attack: shown cropped" in page


@pytest.fixture
def optional():
    """A report under a policy with a rule that was passed over."""
    policy = parse_policy(OPTIONAL, origin="p.toml", known=["forget_accuracy", f"{PREFIX}images"])
    scores = {"forget_accuracy": score(0.05)}
    verdict, gates = judge(policy, scores)
    return report(verdict=verdict, gates=gates, scores=scores, passed_over=passed_over(policy, scores))


def test_a_rule_that_was_passed_over_is_a_skipped_case_and_no_passed_test(optional):
    assert (optional.verdict, optional.passed_over) == ("pass", [RULE])
    text = junit.render(optional, evidence().receipt)
    case = text.partition(f'<testcase classname="policy.default" name="{RULE}">')[2].partition("</testcase>")[0]
    assert case.strip().startswith("<skipped message=")
    assert text.count(f'name="{RULE}"') == 1
    statement = intoto.render(optional, evidence().receipt)
    assert '"passedTests": [\n      "forget_accuracy ≤ 0.1"\n    ]' in statement
    assert statement.count(RULE) == 1  # among the annotations of the policy


def test_a_rule_that_was_passed_over_has_no_conformance_and_no_finding(optional):
    assert RULE not in cyclonedx.render(optional, evidence().receipt)
    assert RULE not in summary.render(optional, evidence().receipt)
    assert sarif.facts(optional)["passed_over"] == [RULE]
    assert [gate["rule"] for gate in sarif.facts(optional)["gates"]] == ["forget_accuracy ≤ 0.1"]


@pytest.mark.parametrize("form", [card, html, summary])
@pytest.mark.parametrize("verdict", ["pass", "fail"])
def test_a_pass_tells_how_many_rules_it_says_nothing_about(optional, form, verdict):
    told = form.render(
        optional.model_copy(update={"verdict": verdict}), evidence() if form is html else evidence().receipt
    )
    assert ("which it says nothing about: 1" in told) == (verdict == "pass")


@pytest.mark.parametrize("form", [card, html])
def test_people_read_which_rules_were_passed_over(optional, form):
    given = evidence() if form is html else evidence().receipt
    told = form.render(optional, given)
    assert PASSED_OVER in told
    assert PASSED_OVER not in form.render(report(), given)
