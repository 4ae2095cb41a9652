"""Flags win over environment, environment over file; nothing unknown is passed over."""

import json

from pathlib import Path

import pytest

from cli_records import make_pool

from space_cli.cli.app import run
from space_cli.cli.options import parse_set
from space_cli.core.errors import UsageFault


@pytest.fixture
def asked(fake_stage, tmp_path):
    """Record each request that reaches `index` and `erase`'s method options."""
    seen = []

    def index(request, out, *, progress, overwrite=False):
        seen.append(request)
        return make_pool(out)

    (tmp_path / "images").mkdir()
    fake_stage("index", index)
    return seen


def configure(text: str, name: str = "space.toml") -> None:
    Path(name).write_text(text, encoding="utf-8")


def test_a_file_gives_values(asked):
    configure("seed = 7\n[index]\nbatch-size = 3\nshard_size = 5\n")
    assert run(["index", "images"]) == 0
    assert (asked[0].seed, asked[0].batch_size, asked[0].shard_size) == (7, 3, 5)


def test_the_mark_that_some_editors_begin_a_file_with_is_passed_over(asked):
    configure("\ufeffseed = 7\n")
    assert run(["index", "images"]) == 0
    assert asked[0].seed == 7


def test_a_commands_table_wins_over_the_shared_keys(asked):
    configure("seed = 7\n[index]\nseed = 8\n[select]\nseed = 9\n")
    assert run(["index", "images"]) == 0
    assert asked[0].seed == 8


def test_environment_wins_over_file_and_flag_over_both(asked, monkeypatch):
    configure("seed = 7\nworkers = 1\nbatch-size = 2\n")
    monkeypatch.setenv("SPACE_SEED", "8")
    monkeypatch.setenv("SPACE_WORKERS", "0")
    assert run(["index", "images", "--seed", "9"]) == 0
    assert (asked[0].seed, asked[0].workers, asked[0].batch_size) == (9, 0, 2)


def test_the_config_flag_names_another_file(asked, tmp_path):
    configure("seed = 7\n")
    configure("seed = 6\n", "other.toml")
    assert run(["index", "images", "--config", "other.toml"]) == 0
    assert asked[0].seed == 6


def test_the_config_variable_names_another_file(asked, monkeypatch):
    configure("seed = 5\n", "other.toml")
    monkeypatch.setenv("SPACE_CONFIG", "other.toml")
    assert run(["index", "images"]) == 0
    assert asked[0].seed == 5


def test_arguments_may_come_from_the_environment(asked, monkeypatch, tmp_path):
    (tmp_path / "more images").mkdir()
    monkeypatch.setenv("SPACE_SOURCES", "images; more images")
    assert run(["index"]) == 0
    assert asked[0].sources == (str(tmp_path / "images"), str(tmp_path / "more images"))
    monkeypatch.setenv("SPACE_SOURCES", ";images;;")
    assert run(["index"]) == 0
    assert asked[1].sources == (str(tmp_path / "images"),)


def test_flags_of_the_environment_are_read_as_booleans(asked, monkeypatch, capsys):
    monkeypatch.setenv("SPACE_JSON", "yes")
    assert run(["index", "images"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "pool"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("sed = 1\n", "unknown key `sed` in `space.toml`", "did you mean `seed`?"),
        ("[index]\nbatch_sizes = 1\n", "unknown key `batch_sizes` in [index]", "did you mean `batch_size`?"),
        ("[indx]\nseed = 1\n", "unknown key `indx`", "did you mean `index`?"),
        ("[index]\nmethod = 'dcsi'\n", "unknown key `method` in [index]", ""),
        ("seed = \n", "`space.toml` is not TOML", ""),
        (f"seed = {'[' * 9999}\n", "`space.toml` is not TOML", ""),
        ("seed = [1, 2]\n", "`seed` in `space.toml` takes one value, not a list", ""),
        ("debug = true\n", "unknown key `debug`", ""),
    ],
)
def test_a_wrong_file_is_refused(text, message, hint, asked, capsys):
    configure(text)
    assert run(["index", "images"]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert hint in shown
    assert not asked


def test_a_missing_config_is_refused(asked, capsys):
    assert run(["index", "images", "--config", "none.toml"]) == 2
    assert "`none.toml` cannot be read" in capsys.readouterr().err


def test_a_wrong_value_names_where_it_came_from(asked, monkeypatch, capsys):
    monkeypatch.setenv("SPACE_SEED", "many")
    assert run(["index", "images"]) == 2
    shown = capsys.readouterr().err
    assert "'--seed'" in shown
    assert "hint: the value comes from the environment variable `SPACE_SEED`" in shown
    monkeypatch.delenv("SPACE_SEED")
    configure("seed = 'many'\n")
    assert run(["index", "images"]) == 2
    assert "hint: the value comes from `space.toml`" in capsys.readouterr().err


def test_foreign_variables_are_left_alone(asked, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/app")
    assert run(["index", "images"]) == 0


def test_set_reads_json_where_it_can():
    assert parse_set(["a=1", "b=[1, 2]", "c=npo", "d=x=y", "e=true", "f="]) == {
        "a": 1,
        "b": [1, 2],
        "c": "npo",
        "d": "x=y",
        "e": True,
        "f": "",
    }


@pytest.mark.parametrize("pair", ["steps", "=4", ""])
def test_set_refuses_what_is_no_pair(pair):
    with pytest.raises(UsageFault, match="is not a pair"):
        parse_set([pair])


@pytest.mark.parametrize("text", ["exit-zero = true", "[audit]\nexit_zero = true", "[demo]\nexit-zero = false"])
def test_no_file_turns_a_failed_verdict_into_exit_code_zero(text, capsys):
    configure(text)
    assert run(["audit"]) == 2
    assert "may not be set in" in (said := capsys.readouterr().err)
    assert "pass `--exit-zero` itself" in said


def test_an_audit_says_which_options_somebody_else_chose(monkeypatch, tmp_path, capsys):
    configure('seed = 3\n[audit]\npolicy = "report-only"\nmetrics = ["retain_kl"]\n')
    monkeypatch.setenv("SPACE_LIMIT", "2")
    assert run(["audit", str(tmp_path), "--seed", "4"]) == 4
    said = capsys.readouterr().err
    assert "from `space.toml`: --metrics, --policy\n" in said
    assert "from the environment variable `SPACE_LIMIT`: --limit\n" in said
    assert "--seed" not in said
    Path("space.toml").unlink()
    monkeypatch.delenv("SPACE_LIMIT")
    assert run(["audit", str(tmp_path)]) == 4
    assert "from" not in capsys.readouterr().err
