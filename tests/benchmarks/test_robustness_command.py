"""Which erasures the robustness benchmark attacks, and which it does not attack again."""

import pytest

from benchmarks.league import cells
from benchmarks.league.entries import OURS, entries
from benchmarks.league.subjects import Job
from benchmarks.robustness import __main__ as command
from benchmarks.robustness.audits import MARK, audit_of
from benchmarks.tables import append_row, read_rows
from space_cli.core.recipe import Concept
from tests.benchmarks.made_cells import NAMES, cell, score


class Drawn:
    name, digest = "made", "abc"
    tests = tuple(Concept(name=name, kind="animal") for name in ("panda", "owl", "fox", "bear", "lion", "ant"))


@pytest.fixture
def asked(monkeypatch):
    """What is computed, as entry, concept and attacks; nothing is erased."""
    found = []

    def compute(entry, job, measures):
        found.append((entry.name, job.concept.name, measures.attacks))
        return cell() | cells.named(entry, job)

    monkeypatch.setattr(command, "compute", compute)
    monkeypatch.setattr(command, "commanded", compute)
    monkeypatch.setattr(command, "open_subjects", lambda *_: iter([Drawn()]))
    return found


def run(tmp_path, *words):
    return command.main([*words, "--out", str(tmp_path)])


def test_ours_is_attacked_on_every_concept_and_the_others_on_four(asked, tmp_path, capsys):
    assert run(tmp_path) == 0
    assert {name for name, _, _ in asked} == {OURS, *command.BESIDE}
    assert [concept for name, concept, _ in asked if name == OURS] == [one.name for one in Drawn.tests]
    assert [concept for name, concept, _ in asked if name == "npo"] == [one.name for one in Drawn.tests[:4]]
    assert {attacks for _, _, attacks in asked} == {tuple(NAMES)}
    assert "# Robustness" in capsys.readouterr().out
    count = len(asked)
    assert run(tmp_path) == 0
    assert len(asked) == count
    assert run(tmp_path, "--redo", "npo") == 0
    assert [name for name, _, _ in asked[count:]] == ["npo"] * 4


def test_only_ours_on_the_first_concept_runs_as_commands(asked, monkeypatch, tmp_path):
    timed = []

    def commanded(entry, job, measures):
        timed.append((entry.name, job.concept.name))
        return cell() | cells.named(entry, job)

    monkeypatch.setattr(command, "commanded", commanded)
    assert run(tmp_path, "--concepts", "2", "--methods", OURS, "npo") == 0
    assert timed == [(OURS, "panda")]
    assert [one[:2] for one in asked] == [("npo", "panda"), (OURS, "owl"), ("npo", "owl")]


def test_more_attacks_than_a_line_has_are_asked_with_those_it_has(asked, tmp_path):
    words = ("--concepts", "1", "--methods", OURS)
    assert run(tmp_path, *words, "--attacks", "prefill") == 0
    assert run(tmp_path, *words, "--attacks", "aliases") == 0
    assert run(tmp_path, *words, "--attacks", "prefill") == 0
    assert [attacks for _, _, attacks in asked] == [("prefill",), ("prefill", "aliases")]
    assert read_rows(tmp_path / command.ROWS)[-1]["attacks"] == ["prefill", "aliases"]


def test_shards_share_the_concepts_and_write_no_table(asked, tmp_path):
    assert run(tmp_path, "--shard", "1/2") == 0
    assert {concept for _, concept, _ in asked} == {"owl", "bear", "ant"}
    assert not (tmp_path / "robustness.json").exists()


def test_a_quick_look_takes_one_concept_and_cheap_attacks(asked, tmp_path):
    assert run(tmp_path, "--quick") == 0
    assert {(concept, attacks) for _, concept, attacks in asked} == {("panda", command.CHEAP)}
    assert {name for name, _, _ in asked} == {OURS, *command.BESIDE}
    assert set(command.CHEAP) < set(NAMES)


def test_a_table_of_what_is_there_computes_nothing(asked, tmp_path, capsys):
    append_row(tmp_path / command.ROWS, cell(scores={"prefill": score(0.25)}))
    append_row(tmp_path / "first.jsonl", cell(scores={"hardening": score(0.5)}))
    assert run(tmp_path, "--table", "--earlier", str(tmp_path / "first.jsonl")) == 0
    assert not asked
    assert "| prefill | 0.250 (1.000) |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(tmp_path, "--table", "--earlier", str(tmp_path / "no.jsonl"))


def test_the_bundled_checkpoint_gives_all_ten_concepts():
    class Bundled(Drawn):
        name = "bundled"

    assert len(command.concepts_of(Bundled())) == 10
    assert len(command.concepts_of(Drawn())) == 6


def test_a_line_of_ours_with_other_defaults_is_computed_anew(asked, tmp_path):
    job = Job(Drawn(), Drawn.tests[0], 0)
    for name in (OURS, "npo"):
        made = cell() | cells.named(entries()[name], job)
        append_row(tmp_path / command.ROWS, {key: value for key, value in made.items() if key != "options"})
    words = ("--concepts", "1", "--methods", OURS, "npo")
    assert run(tmp_path, *words) == 0
    assert run(tmp_path, *words) == 0
    assert [name for name, _, _ in asked] == [OURS]


def test_a_line_of_an_earlier_audit_is_computed_anew_and_marked(asked, tmp_path, capsys):
    now = audit_of(NAMES)
    for number, audit in enumerate((now, now | {"answer_tokens": 24}, None)):
        job = Job(Drawn(), Drawn.tests[number], 0)
        append_row(tmp_path / command.ROWS, cell() | cells.named(entries()["npo"], job) | {"audit": audit})
    assert run(tmp_path, "--table") == 0
    page = capsys.readouterr().out
    assert f"| npo {MARK} | made |" in page
    assert f"{MARK} Of an earlier audit" in page
    assert "- npo on made: 2 of 3 rows" in page
    assert run(tmp_path, "--concepts", "3", "--methods", "npo") == 0
    assert [concept for _, concept, _ in asked] == [one.name for one in Drawn.tests[1:3]]
    assert MARK not in capsys.readouterr().out
