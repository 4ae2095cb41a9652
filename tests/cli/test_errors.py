"""Each failure is one line on stderr with the exit code of its kind."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from cli_records import make_chain, make_pool

from space_cli.cli.app import Terminated, run
from space_cli.core import registry
from space_cli.core.errors import ArtifactFault, EnvironmentFault, GateRefusal, NetworkFault, SpaceError, UsageFault
from space_cli.io.pool import ShardWriter
from space_cli.io.state import StateStore


@pytest.fixture
def failing(fake_stage, tmp_path):
    """Make `space index images` raise."""
    (tmp_path / "images").mkdir()

    def install(failure):
        def index(request, out, *, progress, overwrite=False):
            raise failure

        fake_stage("index", index)

    return install


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (SpaceError, 1),
        (UsageFault, 2),
        (GateRefusal, 3),
        (ArtifactFault, 4),
        (EnvironmentFault, 5),
        (NetworkFault, 6),
    ],
)
def test_our_errors_print_message_and_hint(kind, code, failing, capsys):
    failing(kind("found `[b]x`: y was needed", hint="space doctor"))
    assert run(["index", "images"]) == code
    shown = capsys.readouterr()
    assert shown.err == "error: found `[b]x`: y was needed\n\nhint: space doctor\n"
    assert not shown.out


def test_json_carries_the_figures_of_a_refusal(failing, capsys):
    failing(GateRefusal("nothing near", hint="add images", figures={"top": 0.1, "kl": float("nan")}))
    assert run(["index", "images", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {
        "error": "nothing near",
        "hint": "add images",
        "exit_code": 3,
        "figures": {"top": 0.1, "kl": None},
    }


@pytest.mark.parametrize(
    "words",
    [
        ("index", "images", "--bogus", "--json"),
        ("index", "images", "--workers", "many", "--json"),
        ("index", "images", "--config", "none.toml", "--json"),
        ("bogus", "--json"),
    ],
)
def test_json_carries_a_mistake_that_comes_before_it(words, failing, capsys):
    failing(GateRefusal("never reached"))
    assert run(words) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
    assert run(["index", "--bogus", "--", "--json"]) == 2
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (MemoryError("4 GiB"), 5, "memory ran out: 4 GiB"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), 5, "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 5, "memory ran out"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), 5, "memory ran out"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/f"), 5, "`/f`: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/f"), 5, "`/f`: Permission denied"),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL.Image"), 5, "the package pillow cannot be imported"),
        (ModuleNotFoundError("No module named 'x'", name="space_cli.x"), 1, "ModuleNotFoundError: No module"),
        (KeyError("x"), 1, "KeyError: 'x'"),
        (RuntimeError("first\nsecond"), 1, "RuntimeError: first\n"),
        (RuntimeError(), 1, "RuntimeError: no message"),
    ],
)
def test_foreign_errors_are_one_line(failure, code, said, failing, capsys):
    failing(failure)
    assert run(["index", "images"]) == code
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {said}")
    assert "Traceback" not in shown
    assert ("pass --debug for the traceback" in shown) is (code == 1)


def test_device_memory_is_the_environments_fault(failing, capsys):
    torch = pytest.importorskip("torch")
    failing(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert run(["index", "images"]) == 5
    assert "memory ran out" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--debug", "index", "images"], ["index", "images", "--debug"]])
def test_debug_shows_the_traceback(arguments, failing, capsys):
    failing(KeyError("x"))
    assert run(arguments) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "code", "word"),
    [(KeyboardInterrupt(), 130, "interrupted"), (Terminated(), 143, "terminated")],
)
def test_an_interruption_says_how_to_go_on(failure, code, word, failing, monkeypatch, capsys):
    failing(failure)
    monkeypatch.setattr(ShardWriter, "kept", True)
    assert run(["index", "images"]) == code
    assert capsys.readouterr().err.endswith(f"{word}: state saved, run the same command again to continue\n")
    monkeypatch.setattr(ShardWriter, "kept", False)  # cut short before the first part of the pool
    assert run(["index", "images"]) == code
    assert capsys.readouterr().err.endswith(f"{word}\n")


@pytest.mark.parametrize(
    ("stage", "arguments", "saved"),
    [
        ("erase", ["erase", "--concept", "c", "--model", "model", "--overwrite"], True),
        ("erase", ["erase", "--concept", "c", "--model", "model", "--overwrite", "--seed", "1"], None),
        ("erase", ["erase", "--concept", "c", "--model", "model", "--overwrite", "--method", "space-paper"], False),
        ("select", ["select", "c", "--overwrite"], False),
        ("audit", ["audit", "--overwrite"], False),
        ("verify", ["verify", "."], False),
        ("index", ["index", "images", "--dry-run"], False),
        ("erase", ["erase", "--concept", "c", "--model", "model", "--dry-run"], False),
    ],
)
@pytest.mark.parametrize(("failure", "word"), [(KeyboardInterrupt, "interrupted"), (Terminated, "terminated")])
def test_state_is_said_to_be_saved_where_a_stage_saves_it(
    stage, arguments, saved, failure, word, stages, fake_stage, tmp_path, monkeypatch, capsys
):
    def stop(*_, **__):
        raise failure

    monkeypatch.setattr(StateStore, "kept", saved is not None)  # None: cut short before the first state
    registry.load("methods", "dcsi")
    registry.load("methods", "space-paper")
    make_chain(tmp_path / ".space")
    fake_stage(stage, stop, plan=stop)
    assert run(arguments) in {130, 143}
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (f"{word}: state saved, run the same command again to continue" if saved else word)


def test_sigterm_ends_with_143(tmp_path, child_environment):
    program = textwrap.dedent(
        """
        import sys, time, types
        stage = types.ModuleType("space_cli.stages.index")
        def index(request, out, *, progress, overwrite=False):
            print("ready", flush=True)
            time.sleep(30)
        stage.index = index
        sys.modules["space_cli.stages.index"] = stage
        sys.argv = ["space", "index", "."]
        from space_cli.cli.app import main
        main()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=child_environment,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 143
    assert said == "terminated\n", "no part of the pool was there yet"


@pytest.mark.parametrize(
    ("concept", "message"),
    [
        ("", "name: the concept name is empty"),
        ("two\nlines", "name: the name holds a control character"),
        ("pan\u200bda", "the name 'pan\\u200bda' holds what does not show: U+200B"),
        ("x" * 10_000, "name: the name has 10000 characters: at most 200 are allowed"),
        ("\udcff", "the concept is not valid UTF-8 text"),
    ],
)
def test_impossible_names_are_one_line(concept, message, capsys):
    assert run(["select", concept]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {message}")
    assert len(shown.partition("\n\nhint: ")[0].splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["index", "nowhere"], 2, "`nowhere` does not exist"),
        (["index"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["select", "panda"], 4, "no finished pool folder at"),
        (["select", "panda", "--device", "tpu"], 2, "unknown device `tpu`"),
        (["erase", "--model", "m"], 2, "Missing option '--concept'"),
        (["erase", "--concept", "c", "--model", "m", "--method", "magic"], 2, "unknown method `magic`"),
        (["erase", "--concept", "c", "--model", "m", "--set", "stepz=2"], 2, "there is none; did you mean `steps`?"),
        (["erase", "--concept", "c", "--model", "m", "--set", "wings=2"], 2, "option `wings` of the method `dcsi`: "),
        (["erase", "--concept", "c", "--model", "m", "--set", "steps"], 2, "`--set steps` is not a pair"),
        (["erase", "--concept", "c", "--model", "m", "--max-change", "-1"], 2, "max_change: "),
        (["audit"], 4, "no finished erased folder at"),
        (["audit", "--images", "nowhere"], 2, "`nowhere` is no folder"),
        (["audit", "--metrics", "beauty"], 2, "unknown metric `beauty`: known are all, c_dis"),
        (["audit", "--metrics", "forget_acuracy"], 2, "`forget_acuracy`: did you mean `forget_accuracy`?"),
        (["audit", "--attacks", "jailbrek"], 2, "unknown attack `jailbrek`: did you mean `jailbreak`?"),
        (["audit", "--policy", "Strct"], 2, "did you mean `strict`?"),
        (["demo", "--concept", "Pnada"], 3, "does not know `Pnada`: did you mean `panda`?"),
        (["audit", "--policy", "none.toml"], 2, "the policy `none.toml` is not a file"),
        (["show", "nowhere"], 4, "there is no folder `"),
        (["demo", "--concept", "unheard of"], 3, "does not know `unheard of`"),
    ],
)
def test_what_can_be_checked_is_checked_first(arguments, code, said, capsys):
    assert run(arguments) == code
    assert said in capsys.readouterr().err


LONG = "x" * 300


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", LONG], 4, "holds no space.json"),
        (["show", "file/x"], 4, "holds no space.json"),
        (["audit", LONG], 2, "File name too long"),
        (["select", "panda", "--workspace", LONG], 2, "File name too long"),
        (["select", "panda", "--workspace", "file/x"], 4, "no finished pool folder at"),
        (["list", "metrics", "--config", "file/x"], 2, "`file/x`: Not a directory"),
        (["show", "~nosuchuser/x"], 2, "no home folder is known"),
        (["revert", "~nosuchuser/x", "out"], 2, "no home folder is known"),
        (["revert", "erased", "file", "--overwrite"], 2, "`{here}/file` is a file: no folder can be written there"),
        (["erase", "--concept", "c", "--model", "m", "--out", "file", "--overwrite"], 2, "/file` is a file"),
    ],
)
def test_a_path_that_no_folder_can_have_is_one_line(arguments, code, said, tmp_path, capsys):
    (tmp_path / "file").touch()
    make_chain(tmp_path)
    assert run(arguments) == code
    shown = capsys.readouterr().err
    assert said.format(here=tmp_path) in shown
    assert "Traceback" not in shown


def test_revert_wants_an_erased_folder(tmp_path, capsys):
    make_pool(tmp_path / "pool")
    assert run(["revert", "pool", "out"]) == 4
    assert "is of the kind `pool`: `erased` is needed here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verdict", "arguments", "code"),
    [("pass", [], 0), ("fail", [], 3), ("inconclusive", [], 3), ("fail", ["--exit-zero"], 0)],
)
def test_the_verdict_is_the_exit_code(verdict, arguments, code, tmp_path, capsys):
    make_chain(tmp_path / ".space", verdict=verdict)
    assert run(["audit", *arguments]) == code
    shown = capsys.readouterr()
    assert f"verdict: {verdict}" in shown.out
    assert "report.html" in shown.out


def test_a_failed_check_exits_4(fake_stage, capsys):
    from types import SimpleNamespace

    checks = [
        SimpleNamespace(name="a", passed=True, detail=""),
        SimpleNamespace(name="b", passed=False, detail="why"),
    ]
    fake_stage("verify", lambda folder, **more: checks)
    assert run(["verify", ".", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["verified"] is False
    fake_stage("verify", lambda folder, **more: checks[:1])
    assert run(["verify", "."]) == 0
