"""Pictures read, hashed and decoded ahead of an encoder, each content once, in bounded memory.

Threads rather than processes: Pillow and hashlib leave the interpreter's lock while they work, pixels need no
copy from one process to another, and nothing has to be imported a second time.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TypeVar

from torch import Tensor

from space_cli.core.errors import ArtifactFault
from space_cli.core.protocols import Encoder
from space_cli.core.types import Item
from space_cli.io import sources
from space_cli.io.entry import Entry, ImageFault
from space_cli.io.images import content_hash, decode, header_size
from space_cli.io.pool import ImageError

Given = TypeVar("Given")
Made = TypeVar("Made")
Size = tuple[int, int]


@dataclass(frozen=True)
class Sighting:
    """A picture that was read, or could not be."""

    source: str
    member: str
    data: bytes
    sha256: str  # empty where it could not be read
    reason: str  # empty where it could


@dataclass(frozen=True)
class Ready:
    """A picture for the encoder."""

    item: Item
    pixels: Tensor  # [3, side, side] float32


class Feed:
    """The pictures of some sources; a context manager that holds the threads.

    Args:
        roots: Folders, tar files or parquet files.
        known: Width and height by content hash of what needs no decoding.
        bad: Reason by content hash of what is known to be unusable.
        workers: Threads; 0 works on the caller's.
        ahead: Decoded pictures that may wait for the encoder.
        max_pixels: The limit of `decode`.
        max_errors: Unusable pictures before it is an error; None sets no limit.
    """

    def __init__(
        self,
        roots: Sequence[str],
        known: Mapping[str, Size],
        bad: Mapping[str, str],
        *,
        workers: int,
        ahead: int,
        max_pixels: int,
        max_errors: int | None,
    ) -> None:
        self.seen = 0
        self.failed = 0
        self._roots = roots
        self._known = known
        self._workers = workers
        self._ahead = ahead
        self._max_pixels = max_pixels
        self._max_errors = max_errors
        self._executor = ThreadPoolExecutor(workers, "decode") if workers else None
        self._found: list[tuple[str, str, str, str]] = []  # source, member, sha256, reason
        self._sizes: dict[str, Size | None] = {}  # by content hash; None until decoded
        self._bad = dict(bad)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads; work that has not begun is dropped."""
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def fresh(self) -> Iterator[Sighting]:
        """Read every picture and yield the first of each content that is not known.

        Raises:
            ArtifactFault: A tar or parquet file cannot be opened, or `max_errors` is exceeded.
        """
        entries = (entry for root in self._roots for entry in sources.entries(root))
        for sighting in self._in_order(_read, entries, 2 * self._workers):
            self.seen += 1
            self._found.append((sighting.source, sighting.member, sighting.sha256, sighting.reason))
            if sighting.reason:
                self._fail(sighting.source, sighting.member, sighting.reason)
            elif sighting.sha256 not in self._sizes:
                self._sizes[sighting.sha256] = self._known.get(sighting.sha256)
                if sighting.sha256 in self._bad:
                    self._fail(sighting.source, sighting.member, self._bad[sighting.sha256])
                elif sighting.sha256 not in self._known:
                    yield sighting

    def ready(self, sightings: Iterable[Sighting], encoder: Encoder) -> Iterator[Ready]:
        """Decode what `fresh` found, in its order, leaving out what cannot be.

        Raises:
            ArtifactFault: `max_errors` is exceeded.
        """
        prepare = partial(_prepare, encoder=encoder, max_pixels=self._max_pixels)
        for made in self._in_order(prepare, sightings, self._ahead):
            if isinstance(made, Ready):
                self._sizes[made.item.sha256] = (made.item.width, made.item.height)
                yield made
            else:
                self._bad[made.sha256] = made.reason
                self._fail(made.source, made.member, made.reason)

    def items(self) -> list[Item]:
        """Return each usable content once, where it was first found; call it when the feed has run dry."""
        items: dict[str, Item] = {}
        for source, member, sha256, _ in self._found:
            size = self._sizes.get(sha256)
            if size is not None and sha256 not in items:
                items[sha256] = Item(sha256, source, member, *size)
        return list(items.values())

    def errors(self) -> list[ImageError]:
        """Return what was left out, each content once, in the order found."""
        told: set[str] = set()
        errors: list[ImageError] = []
        for source, member, sha256, reason in self._found:
            if sha256 not in told and (reason or sha256 in self._bad):
                errors.append(ImageError(source, member, reason or self._bad[sha256], sha256))
                told |= {sha256} - {""}
        return errors

    def digests(self, source: str) -> dict[str, str]:
        """Return the content hash of each member that was read from one folder, tar or table."""
        return {member: key for where, member, key, _ in self._found if where == source and key}

    def _fail(self, source: str, member: str, reason: str) -> None:
        self.failed += 1
        if self._max_errors is not None and self.failed > self._max_errors:
            raise ArtifactFault(
                f"{self.failed} images cannot be used, the last `{member}` of `{source}`: {reason}",
                hint=f"mend or remove them, or allow more than {self._max_errors} with `--max-errors`",
                figures={"errors": self.failed, "max_errors": self._max_errors},
            )

    def _in_order(self, function: Callable[[Given], Made], given: Iterable[Given], ahead: int) -> Iterator[Made]:
        if self._executor is None:
            yield from map(function, given)
            return
        waiting: deque[Future[Made]] = deque()
        for each in given:
            waiting.append(self._executor.submit(function, each))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(entry: Entry) -> Sighting:
    try:
        # A record is UTF-8 text, so it can name neither a picture nor an archive of another name.
        (entry.source + entry.member).encode()
        data = entry.read()
    except UnicodeEncodeError:
        return Sighting(entry.source, entry.member, b"", "", "its name is not UTF-8")
    except ImageFault as fault:
        return Sighting(entry.source, entry.member, b"", "", fault.reason)
    return Sighting(entry.source, entry.member, data, content_hash(data), "")


def _prepare(sighting: Sighting, *, encoder: Encoder, max_pixels: int) -> Ready | ImageError:
    try:
        width, height = header_size(sighting.data, max_pixels=max_pixels)
        image = decode(sighting.data, max_pixels=max_pixels, side=encoder.side)
    except ImageFault as fault:
        return ImageError(sighting.source, sighting.member, fault.reason, sighting.sha256)
    item = Item(sighting.sha256, sighting.source, sighting.member, width, height)
    return Ready(item, encoder.preprocess(image))
