"""The picture at the top of the README: what `space demo` prints last, as a terminal shows it.

    python -m benchmarks.terminal .space/demo-banjo/audit

Reads a finished audit; nothing is erased or measured. Writes `docs/assets/terminal.svg`.
"""

import argparse
import contextlib
import io
import os
import re
import sys

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.text import Text

from space_cli.cli.options import command_line
from space_cli.cli.render import Terminal
from space_cli.cli.show import sheets
from space_cli.core.errors import SpaceError
from space_cli.core.records import AuditReport
from space_cli.io.artifact import open_artifact

OUT = Path("docs/assets/terminal.svg")
COLUMNS = 112  # a score's name, its rule and the reason stand on one line, or on two
TERMINAL = {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
FETCHED = re.compile(r"@font-face \{.*?\}|<!--.*?-->", re.DOTALL)
"""In rich's template: fonts from the network, which a picture in a repository must not ask for, and its own name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the picture; the exit code of the error where the folder is no whole audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audit", type=Path, help="Folder of the audit")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    try:
        report = open_artifact(options.audit, "audit")
    except SpaceError as failure:
        sys.stderr.write(f"{failure.message}\n")
        return failure.exit_code
    assert isinstance(report, AuditReport), "the kind decides the class"
    options.out.write_text(picture(report), encoding="utf-8")
    return 0


def picture(report: AuditReport) -> str:
    """Return the SVG of an audit: the command, the tables and the verdict."""
    board = Console(file=io.StringIO(), record=True, width=COLUMNS)
    command = command_line("demo", "--concept", report.concept.name)
    board.print(Text.from_ansi(f"$ {command}\n\n{screen(report)}"))
    return FETCHED.sub("", board.export_svg(title="space"))


def screen(report: AuditReport) -> str:
    """Return what the program prints of an audit, with the colours of a terminal."""
    heard = io.StringIO()
    with patch.dict(os.environ, TERMINAL), contextlib.redirect_stdout(heard):
        os.environ.pop("NO_COLOR", None)
        terminal = Terminal()
        for sheet in sheets(report):
            terminal.sheet(sheet)
        print()
        terminal.say(f"verdict: {report.verdict}")
    return heard.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
