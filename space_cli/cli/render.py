"""What a person sees: tables on stdout, progress and notes on stderr. The only file that imports rich."""

import json
import math
import os
import sys
import time
import unicodedata

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from space_cli.cli.streams import is_unicode, silence, write_line

PLAIN_SECONDS = 5.0
"""Off a terminal, how often a running task says where it is: a log stays readable over hours."""
PLAIN_WIDTH = 120  # columns of a table in a file or pipe; rich would fold at 80
NAMES = 34  # columns that names beside numbers keep at most: those of the longest score
LINE_LIMIT = 2000  # characters of one message; a 10 kB argument must not fill the screen
STYLES = {
    "pass": "bold green",
    "ok": "green",
    "fail": "bold red",
    "broken": "bold red",
    "inconclusive": "bold yellow",
    "warn": "yellow",
}


@dataclass(frozen=True)
class Sheet:
    """A table as plain text; nothing in a cell is markup."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numeric: bool = False  # every column after the first is a number


class Meter:
    """One running task, drawn as a bar or told as lines."""

    def __init__(self, label: str, total: int | None, show: Callable[["Meter"], None]) -> None:
        self.label = plain(label)
        self.total = total
        self.done = 0
        self.figures: dict[str, float | str] = {}
        self._show = show

    def __call__(self, steps: int = 1, /, **figures: float | str) -> None:
        """Advance by `steps` and show the newest figures."""
        self.done += steps
        self.figures |= figures
        self._show(self)

    def newest(self) -> str:
        """Return the figures as `loss 0.31, name_nll 4.2`."""
        return ", ".join(f"{name} {figure(value)}" for name, value in self.figures.items())


class Terminal:
    """The screen of one command; a `Progress` for the stages.

    Args:
        as_json: stdout carries one JSON document.
        quiet: stdout carries one path, and stderr nothing but errors.
        clock: Seconds, for the pace of plain lines.
    """

    def __init__(
        self, *, as_json: bool = False, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.as_json = as_json
        self.mask: Callable[[str], str] = lambda text: text  # what may not be named is replaced by a pseudonym
        self.quiet = quiet
        self._clock = clock
        self._out = _console(sys.stdout)
        self._err = _console(sys.stderr)
        self._live = self._err.is_interactive and not os.environ.get("CI") and not quiet
        self._bars: Bars | None = None

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Generator[Meter]:
        """Open a bar; it closes with the `with` block."""
        label = self.mask(label)
        if self.quiet:
            yield Meter(label, total, lambda meter: None)
        elif self._live:
            with self._bar(label, total) as meter:
                yield meter
        else:
            with self._lines(label, total) as meter:
                yield meter

    def note(self, text: str) -> None:
        """Say one line that stays on the screen."""
        if not self.quiet:
            text = self.mask(text)
            (self._bars.console if self._bars else self._err).print(plain(text), soft_wrap=True)

    def hint(self, command: str) -> None:
        """Name the command that comes next."""
        self.note(f"next: {command}")

    def sheet(self, sheet: Sheet) -> None:
        """Draw a table on stdout, unless stdout belongs to a JSON document or a path."""
        if self.as_json or self.quiet:
            return
        table = Table(title=plain(self.mask(sheet.title)), title_justify="left", title_style="bold")
        # Beside numbers the names keep their width, and the columns of numbers fold.
        longest = min(max((len(row[0]) for row in sheet.rows), default=0), NAMES, self._out.width // 3)
        for position, column in enumerate(sheet.columns):
            numeric = sheet.numeric and position > 0
            named = longest if sheet.numeric and not position else None
            table.add_column(plain(column), justify="right" if numeric else "left", overflow="fold", min_width=named)
        for row in sheet.rows:
            table.add_row(*(Text(plain(self.mask(cell)), style=STYLES.get(cell, "")) for cell in row))
        self._out.print(table)

    def say(self, text: str) -> None:
        """Print one line of the result, unless stdout belongs to a JSON document or a path."""
        if not self.as_json and not self.quiet:
            self._out.print(plain(self.mask(text)), soft_wrap=True)

    def result(self, document: object, path: Path | None) -> None:
        """Print what scripts read: the document with `--json`, else the path with `-q`."""
        if self.as_json:
            write_line(json.dumps(_each(document, self.mask), indent=2, ensure_ascii=not is_unicode(sys.stdout)))
        elif self.quiet and path is not None:
            write_line(self.mask(str(path)))

    def record(self, text: str, path: Path, sheets: Sequence[Sheet]) -> None:
        """Print a stage's record: tables for a person, JSON or the path for a script."""
        for sheet in sheets:
            self.sheet(sheet)
        # Not "written": a finished folder may have been used again, and `show` writes nothing.
        self.say(f"folder: {path}")
        self.result(json.loads(text), path)

    def plan(self, plans: dict[str, Any], path: Path) -> None:
        """Print what would be done, stage by stage."""
        for stage, entries in plans.items():
            rows = [(name, _cell(value, size=name.endswith("_bytes"))) for name, value in entries.items()]
            self.sheet(Sheet(f"plan of {stage}", ("what", "value"), rows))
        self.result(plans, path)

    @contextmanager
    def _bar(self, label: str, total: int | None) -> Generator[Meter]:
        outermost = self._bars is None
        bars = self._bars = self._bars or _bars(self._err)
        row = bars.add_task(plain(label), total=total, figures="")
        if outermost:
            bars.start()
        try:
            yield Meter(label, total, lambda meter: _redraw(bars, row, meter))
        finally:
            if outermost:
                bars.stop()
                self._bars = None

    @contextmanager
    def _lines(self, label: str, total: int | None) -> Generator[Meter]:
        started = told = self._clock()

        def show(meter: Meter) -> None:
            nonlocal told
            now = self._clock()
            if now - told >= PLAIN_SECONDS:
                told = now
                self.note(_line(meter, now - started))

        meter = Meter(label, total, show)
        try:
            yield meter
        finally:
            took = self._clock() - started
            self.note(", ".join(filter(None, (f"{_count(meter)} in {duration(took)}", meter.newest()))))


def complain(message: str, hint: str = "", *, lead: str = "error: ") -> None:
    """Write an error to stderr: what was found, a blank line, what mends it."""
    console = _console(sys.stderr)
    console.print(Text(lead, style="bold red") + Text(plain(message)), soft_wrap=True)
    if hint:
        console.print()
        console.print(Text("hint: ", style="bold cyan") + Text(plain(hint)), soft_wrap=True)


def plain(text: str) -> str:
    r"""Return text that a terminal shows as it is: one line, no control characters, not endless.

    Example:
        >>> plain("[red]x[/red]"), plain("a" + chr(10) + "b" + chr(27) + "[31m")
        ('[red]x[/red]', 'a b\\x1b[31m')
    """
    text = text.replace("\n", " ")
    shown = "".join(repr(c)[1:-1] if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)
    return shown if len(shown) <= LINE_LIMIT else f"{shown[:LINE_LIMIT]}…"


def figure(value: float | str | None, *, unit: str = "") -> str:
    """Write a number as a person reads it; a share in per cent, nothing as a dash.

    Example:
        >>> figure(0.9666, unit="share"), figure(0.00312345), figure(None), figure(12)
        ('96.7 %', '0.00312', '-', '12')
    """
    if value is None:
        return "-"
    if isinstance(value, str | int):
        return plain(str(value))
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Write seconds as a person reads them.

    Example:
        >>> duration(3.14159), duration(75), duration(7325)
        ('3.1 s', '1:15', '2:02:05')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Screen(Console):
    """A console whose reader may leave, as `| head` does: the run goes on, and what is printed then goes nowhere."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        silence(cast(TextIO, self.file))


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return _Screen(file=stream, width=width, markup=False, emoji=False, highlight=False)


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
    )


def _redraw(bars: Bars, row: TaskID, meter: Meter) -> None:
    bars.update(row, completed=meter.done, figures=meter.newest())


def _count(meter: Meter) -> str:
    return f"{meter.label}: {meter.done}" + (f"/{meter.total}" if meter.total is not None else "")


def _each(document: object, change: Callable[[str], str]) -> object:
    """Return a JSON document with every text in it changed; keys are the program's own, and JSON has no NaN."""
    if isinstance(document, str):
        return change(document)
    if isinstance(document, list | tuple):
        return [_each(one, change) for one in document]
    if isinstance(document, dict):
        return {key: _each(one, change) for key, one in document.items()}
    return None if isinstance(document, float) and not math.isfinite(document) else document


def _cell(value: object, *, size: bool) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return decimal(int(text)) if size else text


def _line(meter: Meter, seconds: float) -> str:
    rate = meter.done / seconds if seconds > 0 else 0.0
    parts = [_count(meter), f"{rate:.3g}/s"]
    if meter.total is not None and rate > 0:
        parts.append(f"eta {duration((meter.total - meter.done) / rate)}")
    return ", ".join(filter(None, (*parts, meter.newest())))
