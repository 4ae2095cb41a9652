"""A reader that leaves ends no run; a disk that refuses the output is told, with its exit code."""

import errno
import io
import os
import subprocess
import sys
import textwrap

import pytest

from space_cli.cli.app import run

SPACE = f"{sys.executable} -m space_cli"


@pytest.fixture
def shell(tmp_path, child_environment):
    """Run a line of bash; returns the code of the last pipe's first command, and what all of it said on stderr."""

    def in_bash(line):
        script = f"{line.replace('space ', f'{SPACE} ')}\nexit ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=child_environment,
        )
        return done.returncode, done.stderr

    return in_bash


@pytest.mark.parametrize("arguments", ["list metrics", "list metrics -q", "list metrics --json", "--version", "--help"])
def test_a_reader_of_the_result_may_leave(arguments, shell):
    assert shell(f"space {arguments} | true") == (0, "")


@pytest.mark.parametrize("arguments", ["list metrics", "list metrics --json", "--version"])
def test_stdout_may_be_closed(arguments, shell):
    assert shell(f"space {arguments} >&-") == (0, "")


@pytest.mark.parametrize("arguments", ["list metrics", "list metrics -q", "list metrics --json"])
def test_a_disk_that_refuses_the_result_is_the_environments_fault(arguments, shell):
    """No file may grow, as on a full disk; what could not be written is not tried once more at the end."""
    code, said = shell(f"ulimit -f 0; space {arguments} > result")
    assert (code, said) == (5, "error: File too large\n\nhint: check free space and permissions\n")


@pytest.mark.parametrize("into", ["2> log", "2>&-", "2>&1 | true"])
def test_an_error_that_nobody_can_read_keeps_its_code(into, shell):
    assert shell(f"ulimit -f 0; space show nowhere {into}") == (4, "")


def test_a_failure_to_print_json_is_told_once(monkeypatch, capsys):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Full())
    assert run(["list", "metrics", "--json"]) == 5
    sys.stdout.close()  # what took its place
    assert capsys.readouterr().err == "error: No space left on device\n\nhint: check free space and permissions\n"


@pytest.mark.parametrize("into", ["2>&1 | true", "2> >(true)"])
def test_a_reader_of_the_log_may_leave(into, tmp_path, shell):
    (tmp_path / "stage.py").write_text(
        textwrap.dedent(
            """
            import sys, time, types
            stage = types.ModuleType("space_cli.stages.verify")
            def verify(folder, **more):
                from space_cli.cli.render import Terminal
                terminal = Terminal()
                time.sleep(0.3)
                with terminal.task("verify", 2) as step:
                    for number in range(2):
                        terminal.note("a line of the log")
                        step()
                (folder / "done").touch()
                return []
            stage.verify = verify
            sys.modules[stage.__name__] = stage
            from space_cli.cli.app import main
            main()
            """
        )
    )
    assert shell(f"{sys.executable} stage.py verify . {into}") == (0, "")
    assert (tmp_path / "done").is_file()
