"""What somebody at the terminal is told."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from space_cli.core.protocols import Silent


class Heard(Silent):
    """A `Progress` that keeps what it was told: lines, and of every bar its label, its length and how far it came."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.bars: list[tuple[str, int | None, int]] = []

    def note(self, text: str) -> None:
        """Keep one line."""
        self.notes.append(text)

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Generator[Callable[..., None]]:
        """Count the steps of a bar."""
        done: list[int] = []
        yield lambda steps=1, **figures: done.append(steps)
        self.bars.append((label, total, sum(done)))
