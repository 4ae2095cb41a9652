"""The streams of a process whose reader may be gone: closed, full, or a pipe that nobody reads."""

import os
import sys

from typing import TextIO


def open_closed() -> None:
    """Open to nowhere what the shell closed (`>&-`) of stdout and stderr, so that no file of ours gets their number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def silence(stream: TextIO) -> None:
    """Send what a stream holds, and what it will still be given, nowhere: at its end it is flushed once more."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # it is no file of the system's
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def settle() -> None:
    """Flush both streams, and silence the one that cannot be, which would otherwise change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(stream)


def is_unicode(stream: TextIO) -> bool:
    """Tell whether a stream can carry any text."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def write_line(text: str) -> None:
    """Write one line to stdout; a reader that has gone away is not an error.

    Raises:
        OSError: The disk behind stdout refuses the write; the next line goes nowhere.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    except OSError:
        _forget_stdout()
        raise


def _forget_stdout() -> None:
    silence(sys.stdout)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
