"""The download of one blob: in pieces, side by side, going on where an earlier attempt ended."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from dmrc.errors import DigestMismatchError, StoreError
from dmrc.sources.connections import MOST_CONNECTIONS
from dmrc.sources.retry import TransientError, retry
from dmrc.sources.source import ProgressEvent, ResumableBlob, Transfer
from dmrc.threads import start_thread

_ATTEMPTS = 6
_READ_BYTES = 512 << 10
_PROGRESS_BYTES = 64 << 10
_POLL_SECONDS = 0.1
_HASH_SECONDS = 0.02
_WAIT_SECONDS = 0.2
_STALL_SECONDS = 20
_STALL_BYTES = 20 << 10


class ByteRange(Protocol):
    """What a server sends of a blob."""

    start: int
    """The byte it begins with: the one that was asked for, or 0 where it sends the whole blob."""
    is_whole: bool
    """Whether it sends the whole blob, since it knows no ranges."""
    total_bytes: int | None
    """Size of the whole blob, where the server says it."""

    def read(self, size: int, /) -> bytes:
        """Return the bytes that have come, at least one and at most `size`; none at the end."""


class DownloadOrigin(Protocol):
    """Where the bytes of one blob come from. Threads may share it."""

    def open(self, start: int, end: int) -> AbstractContextManager[ByteRange]:
        """Ask for the bytes from `start` up to and without `end`; the body is read within the block.

        Raises:
            TransientError: It failed, here or within the block, and may succeed later.
            RegistryError: It failed.
            ModelNotFoundError: There is no such thing.
        """


def download(origin: DownloadOrigin, digest: str | None, size_bytes: int, transfer: Transfer, *, name: str = "") -> str:
    """Bring a blob into `transfer.sink`, unless it is there, and return its digest.

    Without a digest any bytes are taken, and `name` must stand for these very bytes (a URL with its ETag): a later
    attempt goes on with what came under the same name. Threads and processes that want the same blob take turns.

    Raises:
        DigestMismatchError: Other bytes came; nothing is kept of them.
        RegistryError: The origin, or the network, failed; what came is kept.
        StoreError: The disk has no room, or fails.
        CancelledError: The transfer was cancelled; what came is kept.
    """
    label = digest or name
    finished = ProgressEvent("Already exists", label, size_bytes, size_bytes, was_there=True)

    def is_there() -> bool:
        return digest is not None and transfer.sink.has_blob(digest, size_bytes)

    if not is_there():
        try:
            with _turn(label, size_bytes, transfer) as blob:
                if not is_there():
                    digest = _bring(origin, digest, blob, _Progress(transfer, blob, label, size_bytes))
                    finished = ProgressEvent("Pull complete", label, size_bytes, size_bytes)
        except StoreError:
            # Who had the turn before may have brought it, and with it taken the disk's room.
            if not is_there():
                raise
    transfer.report(finished)
    return label if digest is None else digest


def _bring(origin: DownloadOrigin, digest: str | None, blob: ResumableBlob, progress: _Progress) -> str:
    """Fetch what is missing, and all of it once more when what an earlier attempt left was damaged."""
    while True:
        was_resumed = blob.is_resumed
        if was_resumed:
            progress.tell_resumed()
        try:
            _Download(origin, blob, progress).run()
            return blob.finish(digest)
        except DigestMismatchError:
            blob.restart()
            if not was_resumed:
                raise


@contextmanager
def _turn(name: str, size_bytes: int, transfer: Transfer) -> Iterator[ResumableBlob]:
    """Hold the blob; wait while somebody else brings it, who may finish, give up or die."""
    is_waiting = False
    while (held := transfer.sink.open_partial(name, size_bytes)) is None:
        if not is_waiting:
            transfer.report(ProgressEvent(f"Waiting for another pull of {name}", name, 0, size_bytes))
        is_waiting = True
        transfer.pause(_WAIT_SECONDS)
    with held as blob:
        yield blob


class _Progress:
    """Tells of one blob, a few times a second."""

    def __init__(self, transfer: Transfer, blob: ResumableBlob, label: str, size_bytes: int) -> None:
        self.transfer = transfer
        self.size_bytes = size_bytes
        self.label = label
        self._blob = blob
        self._told = 0.0

    def tell_resumed(self) -> None:
        event = ProgressEvent("Downloading", self.label, self._blob.received, self.size_bytes, is_resumed=True)
        self.transfer.report(event)

    def tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= _POLL_SECONDS:
            self._told = now
            self.transfer.report(ProgressEvent("Downloading", self.label, self._blob.received, self.size_bytes))


@dataclass(slots=True)
class _Gap:
    """Bytes that one thread brings."""

    position: int
    """The next one."""
    end: int
    """One past the last one."""


class _Download:
    """Threads that fill the gaps of a blob, in order, so that the hash can follow.

    The first one goes ahead; the others follow when its answer shows that the server knows ranges. Where one gets the
    whole blob for an answer, it alone goes on with it.
    """

    def __init__(self, origin: DownloadOrigin, blob: ResumableBlob, progress: _Progress) -> None:
        self._origin = origin
        self._blob = blob
        self._progress = progress
        outer = progress.transfer
        self._transfer = replace(outer, cancelled=lambda: self._is_over or outer.cancelled())
        self._gaps = deque(_Gap(start, end) for start, end in blob.missing())
        self._stream: _Gap | None = None
        self._threads: list[Future[None]] = []
        self._is_over = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Return when no byte is missing, and all are hashed."""
        self._progress.tell()
        try:
            self._start(min(1, len(self._gaps)))
            while pending := [thread for thread in self._threads if not _is_done(thread)]:
                self._transfer.check()
                self._progress.tell()
                if not self._blob.hash_some():
                    wait(pending, timeout=_HASH_SECONDS, return_when=FIRST_COMPLETED)
            while self._blob.hash_some():
                self._transfer.check()
        finally:
            self._is_over = True

    def _start(self, count: int) -> None:
        self._threads += [start_thread(self._work, "transfer") for _ in range(count)]

    def _work(self) -> None:
        while (gap := self._next()) is not None:
            retry(partial(self._fetch, gap), self._transfer, attempts=_ATTEMPTS, progressed=_progress_of(gap))

    def _next(self) -> _Gap | None:
        with self._lock:
            return self._gaps.popleft() if self._gaps and self._stream is None else None

    def _fetch(self, gap: _Gap) -> None:
        turn = self._transfer.connections.one(self._transfer.check)
        with turn, self._origin.open(gap.position, gap.end) as part:
            self._check_size(part)
            if self._is_accepted(part, gap):
                self._read(part, gap)

    def _check_size(self, part: ByteRange) -> None:
        size_bytes = self._progress.size_bytes
        if part.total_bytes not in (None, size_bytes):
            label, total = self._progress.label, part.total_bytes
            raise DigestMismatchError(f"blob {label} should have {size_bytes} bytes, but the server has {total}")

    def _is_accepted(self, part: ByteRange, gap: _Gap) -> bool:
        """Choose between ranges and one stream; return whether this thread is to read its part."""
        size_bytes = self._progress.size_bytes
        with self._lock:
            if part.is_whole and self._stream is None and (gap.position, gap.end) != (0, size_bytes):
                self._stream = gap
                gap.position, gap.end = 0, size_bytes
            if self._stream is None and len(self._threads) == 1:
                self._start(min(MOST_CONNECTIONS - 1, len(self._gaps)))
            return self._stream in (None, gap)

    def _read(self, part: ByteRange, gap: _Gap) -> None:
        offset, pace = part.start, _Pace()
        while offset < gap.end and self._stream in (None, gap):
            self._transfer.check()
            data = part.read(min(_READ_BYTES, gap.end - offset))
            if not data:
                raise TransientError(f"blob {self._progress.label} broke off at byte {offset}")
            self._blob.write(offset, data)
            offset += len(data)
            gap.position = max(gap.position, offset)
            pace.count(len(data))


class _Pace:
    """Ends a connection that brings next to nothing: a new one may do better."""

    def __init__(self) -> None:
        self._since, self._bytes = time.monotonic(), 0

    def count(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        if (seconds := time.monotonic() - self._since) < _STALL_SECONDS:
            return
        if self._bytes < _STALL_BYTES:
            raise TransientError(f"the connection brought {self._bytes} bytes in {seconds:.0f} seconds")
        self._since, self._bytes = time.monotonic(), 0


def _is_done(thread: Future[None]) -> bool:
    """Return whether a thread has ended; raises what it raised."""
    return thread.done() and thread.result() is None


def _progress_of(gap: _Gap) -> Callable[[], bool]:
    """Return a function that says whether there was progress since it was last called."""
    before = gap.position

    def progressed() -> bool:
        nonlocal before
        last, before = before, gap.position
        return before - last >= _PROGRESS_BYTES

    return progressed
