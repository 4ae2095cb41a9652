"""What is printed is what was said, on a terminal and off it."""

import io
import json
import re
import sys

import pytest

from cli_records import make_anchors, make_audit, make_chain, make_erased, make_pool

from space_cli.cli import render
from space_cli.cli.app import run
from space_cli.cli.render import Sheet, Terminal

AWKWARD = ["[red]x[/red]", "[/]", 'the "Mona Lisa"', "O'Keeffe", "🐼 panda", ":smile:", "{braces}", "パンダ"]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_long_task_tells_where_it_is_every_few_seconds(capsys):
    clock = Clock()
    terminal = Terminal(clock=clock)
    with terminal.task("erase", 100) as step:
        for _ in range(100):
            clock.now += 0.25
            step(loss=0.25)
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert not shown.out
    assert len(lines) == 6
    assert lines[0] == "erase: 20/100, 4/s, eta 20.0 s, loss 0.25"
    assert lines[-1] == "erase: 100/100 in 25.0 s, loss 0.25"


def test_a_task_that_fails_still_says_how_far_it_came(capsys):
    def fail():
        with Terminal(clock=Clock()).task("index", 10) as step:
            step(4)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert capsys.readouterr().err.startswith("index: 4/10")


def test_quiet_says_nothing_but_the_path(capsys, tmp_path):
    terminal = Terminal(quiet=True)
    with terminal.task("index", 2) as step:
        step()
    terminal.note("a note")
    terminal.hint("space select")
    terminal.record("{}", tmp_path, [Sheet("t", ("a",), [("b",)])])
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path}\n"
    assert not shown.err


def test_json_is_alone_on_stdout(capsys, tmp_path):
    terminal = Terminal(as_json=True)
    with terminal.task("index") as step:
        step()
    terminal.say("words")
    terminal.record('{"a": "🐼"}', tmp_path, [Sheet("t", ("a",), [("b",)])])
    assert json.loads(capsys.readouterr().out) == {"a": "🐼"}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_printed_literally(name, capsys):
    terminal = Terminal()
    terminal.sheet(Sheet(name, (name,), [(name,)]))
    terminal.say(name)
    terminal.note(name)
    render.complain(name, name)
    shown = capsys.readouterr()
    assert shown.out.count(name) == 4
    assert shown.err.count(name) == 3


def test_beside_many_numbers_a_name_stays_in_one_piece(capsys, monkeypatch):
    monkeypatch.setattr(render, "PLAIN_WIDTH", 110)
    names = ("attack_membership_min_k_plus_tpr", "attack_relearn_neighbours_area")
    columns = ("score", "before", "after", "95 % interval", "n", "better", "unattacked", "control", "baseline", "minus")
    number = "+12.3 points, -4.5 to 29.1"
    Terminal().sheet(Sheet("audit", columns, [(name, *[number] * 9) for name in names], numeric=True))
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    assert max(map(len, shown.splitlines())) <= 110


def test_control_characters_never_reach_the_terminal(capsys):
    render.complain("a\x1b[31mb\nc")
    assert capsys.readouterr().err == "error: a\\x1b[31mb c\n"


def test_a_long_message_is_cut(capsys):
    render.complain("x" * 10_000)
    assert len(capsys.readouterr().err) < 2_100


def test_a_terminal_gets_bars(monkeypatch):
    class Screen(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", screen)
    terminal = Terminal()
    with terminal.task("[b]outer[/b]", 2) as outer:
        with terminal.task("inner", 4) as inner:
            inner(4, loss=0.5)
        outer(2, state="done")
        terminal.note("in between")
    shown = screen.getvalue()
    assert "[b]outer[/b]" in shown
    assert "inner" in shown
    assert "loss 0.5" in shown
    assert "state done" in shown
    assert "in between" in shown


def test_ci_gets_lines_even_on_a_terminal(monkeypatch):
    class Screen(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Terminal(clock=Clock()).task("index", 1) as step:
        step()
    assert screen.getvalue().strip() == "index: 1/1 in 0.0 s"


def test_colour_is_forced_and_forbidden_by_the_usual_variables(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    render.complain("m")
    assert "\x1b[" in capsys.readouterr().err
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("NO_COLOR", "1")
    render.complain("m")
    assert capsys.readouterr().err == "error: m\n"


def test_every_kind_of_folder_is_shown(tmp_path, capsys):
    make_chain(tmp_path)
    for kind, words in {
        "pool": ["images", "some/clip"],
        "anchors": ["panda", "similarity floor"],
        "erased": ["layers.0", "25.0 %", "name_nll"],
        "audit": ["forget_accuracy", "95.0 %", "1.0 %", "0.0 % to 3.0 %", "120", "elicitation"],
    }.items():
        assert run(["show", str(tmp_path / kind)]) == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in [*words, "2026-01-01"]), kind


def test_show_names_the_folder_and_claims_to_have_written_nothing(tmp_path, capsys):
    make_pool(tmp_path / "pool")
    assert run(["show", str(tmp_path / "pool")]) == 0
    assert f"\nfolder: {tmp_path / 'pool'}\n" in capsys.readouterr().out


def test_an_instruction_is_shown_where_there_is_one(tmp_path, capsys):
    make_chain(tmp_path)
    assert run(["show", str(tmp_path / "erased")]) == 0
    assert not re.search(r"│ instruction +│", capsys.readouterr().out)
    told = make_erased(tmp_path / "erased", tmp_path / "anchors").model_copy(update={"instruction": "Say no [red]."})
    (tmp_path / "erased" / "space.json").write_text(told.model_dump_json())
    assert run(["show", str(tmp_path / "erased")]) == 0
    assert re.search(r"│ instruction +│ Say no \[red\]\.", capsys.readouterr().out)


def test_a_score_is_shown_with_its_control_and_what_it_was_without_the_attack(tmp_path, capsys):
    record = make_chain(tmp_path)
    assert run(["show", str(tmp_path / "audit")]) == 0
    assert not {"unattacked", "control", "baseline"} & set(capsys.readouterr().out.split())
    plain = record.scores["forget_accuracy"]
    attacked = plain.model_copy(update={"after": 0.5, "unattacked": 0.125, "control": 0.375})
    scores = {"forget_accuracy": plain, "attack_prefill": attacked}
    (tmp_path / "audit" / "space.json").write_text(record.model_copy(update={"scores": scores}).model_dump_json())
    assert run(["show", str(tmp_path / "audit")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    head = next(row for row in rows if "unattacked" in row)
    assert head.index("control") > head.index("unattacked")
    told = next(" ".join(row) for row in rows if "attack_prefill" in row)
    assert told.index("12.5 %") < told.index("37.5 %")


def test_show_prints_the_record_itself_as_json(tmp_path, capsys):
    record = make_pool(tmp_path / "pool")
    assert run(["show", str(tmp_path / "pool"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(record.model_dump_json())


def test_an_awkward_concept_is_shown_literally(tmp_path, capsys):
    make_pool(tmp_path / "pool")
    make_anchors(tmp_path / "anchors", tmp_path / "pool")
    make_erased(tmp_path / "erased", tmp_path / "anchors", name="[red]x[/red]")
    make_audit(tmp_path / "audit", tmp_path / "erased", name="[red]x[/red]")
    assert run(["show", str(tmp_path / "erased")]) == 0
    assert run(["show", str(tmp_path / "audit")]) == 0
    assert capsys.readouterr().out.count("[red]x[/red]") == 2


def test_a_reader_that_leaves_is_no_error(monkeypatch):
    class Gone(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    render.write_line("text")
    assert sys.stdout.name == "/dev/null"
    sys.stdout.close()


def test_a_plan_tells_sizes_as_people_read_them_and_bytes_to_machines(capsys, tmp_path):
    plan = {"erase": {"memory_bytes": 49_564_595, "disk_bytes": 14_130_000_000, "parameters": 5}}
    Terminal().plan(plan, tmp_path)
    said = capsys.readouterr().out
    assert "49.6 MB" in said
    assert "14.1 GB" in said
    Terminal(as_json=True).plan(plan, tmp_path)
    assert json.loads(capsys.readouterr().out) == plan
