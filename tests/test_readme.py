"""The figures that the README shows are those that the benchmarks left."""

import json
import re

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PHOTOGRAPHS = {
    "still names the concept": "forget_accuracy",
    "picks its name from a list": "forget_choice_accuracy",
    "says yes to its name": "forget_yes_rate",
    "other names kept": "retain_accuracy, relative",
    "five nearest names kept": "neighbour_accuracy, relative",
}
DRAWINGS = [
    *("forget_accuracy", "forget_choice_accuracy", "forget_yes_rate", "retain_accuracy"),
    *("neighbour_accuracy", "kind_accuracy", "text_knowledge", "elicitation"),
]


def summary(name):
    return json.loads((ROOT / "docs" / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))["summary"]


def row(start):
    """Return the cells of the README's table row that begins so, after the first one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(rf"^\| [^|\n]*{re.escape(start)}[^|\n]* \|(.*)\|$", text, flags=re.MULTILINE)
    assert line, f"no row {start}"
    return [cell.strip() for cell in line[1].split("|")]


def percent(value):
    return f"{100 * value:.1f} %"


@pytest.mark.parametrize("told", PHOTOGRAPHS)
def test_the_photographs_are_those_of_the_league(told):
    found = summary("league")
    assert row(told) == [percent(found[entry][PHOTOGRAPHS[told]]["mean"]) for entry in ("dcsi", "siu")]


def test_the_harmonic_means_are_those_of_the_league():
    found = (summary("league")[entry]["harmonic mean"] for entry in ("dcsi", "siu"))
    figures = [[f"{one[part]:.3f}".removeprefix("0") for part in ("mean", "low", "high")] for one in found]
    assert row("harmonic mean of forgetting") == [f"{mean} ({low} to {high})" for mean, low, high in figures]


def test_the_harmonic_means_subject_by_subject_are_those_of_the_league():
    page, told = ((ROOT / "docs" / "benchmarks" / f"{name}.md").read_text("utf-8") for name in ("league", "README"))
    section = re.search(r"^## Harmonic mean, subject by subject\n\n(.*?)\n\n", page, flags=re.MULTILINE | re.DOTALL)
    assert section
    assert f"\n{section[1]}\n" in told


@pytest.mark.parametrize("score", DRAWINGS)
def test_the_drawings_are_those_of_the_demo(score):
    found, paper = (summary("demo")[method] for method in ("dcsi", "space-paper"))
    own = found[score]
    wanted = [
        found[f"{score}, before"]["mean"],
        own["mean"],
        own["low"],
        own["high"],
        own["worst"],
        paper[score]["mean"],
    ]
    before, after, low, high, worst, beside = map(percent, wanted)
    assert row(f"(`{score}`)") == [before, after, f"{low} to {high}", worst, beside]
