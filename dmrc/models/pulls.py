"""Pulls that run now: of this process, and of all others that bring models into the same store.

Each has a small file in `<store>/pulls`, written at most twice a second and removed at the end. Its lock says that the
process lives: of one that was killed the kernel takes the lock, and the next reader removes the file.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from dmrc.secret_names import hidden_in_urls
from dmrc.sources import Progress, ProgressEvent, TransferCount
from dmrc.store.files import storage_errors
from dmrc.store.held_files import is_held, lock, remove_unless_held

_WRITE_SECONDS = 0.5
_SILENT_SECONDS = 5.0
"""Who has written nothing for so long may have stalled: its rate says nothing of now."""


@dataclass(frozen=True, slots=True)
class RunningPull:
    """A pull, as its process wrote it last."""

    id: str
    """32 hex digits."""
    model: str
    """What is pulled, as it was asked for, without a login or a secret of its URL."""
    process: int
    """Id of the process that pulls."""
    command: str
    """What that process is, for people: `dmrc up`."""
    began_at: float
    """Unix seconds."""
    told_at: float
    """When this was written, in Unix seconds."""
    status: str = ""
    """What happens: `Downloading`, `Waiting for another pull of ai/smollm2`."""
    done_bytes: int = 0
    """Bytes that are there, those of earlier attempts among them."""
    size_bytes: int = 0
    """Bytes of all that travels; 0 until that is known."""
    bytes_per_second: float | None = None
    """Of the last seconds, and of this run only; None where there is no rate."""
    can_cancel: bool = False
    """Whether it runs in the process that reads this."""

    @property
    def seconds_left(self) -> float | None:
        """Return how long it takes at this rate; None where nobody can tell."""
        left = self.size_bytes - self.done_bytes
        return left / self.bytes_per_second if self.bytes_per_second and left >= 0 else None


class Pulls:
    """The pulls of one store. Threads may use it at the same time."""

    def __init__(self, store: Path, command: str = "") -> None:
        """Keep notes in the store at this path; `command` says what this process is."""
        self._directory = store / "pulls"
        self._command = command
        self._cancels: dict[str, threading.Event] = {}

    @contextmanager
    def noted(self, model: str, progress: Progress, cancelled: Callable[[], bool]) -> Iterator[_Told]:
        """Let others see a pull as long as the block lasts; the file comes with the first byte that has to travel.

        Yields what takes the place of `progress` and of `cancelled`.

        Raises:
            StoreError: The store cannot be written.
        """
        cancel, id_ = threading.Event(), uuid.uuid4().hex
        now = time.time()
        pull = RunningPull(id_, hidden_in_urls(model.strip()), os.getpid(), self._command, now, now)
        note = _Note(self._directory, pull, progress)
        self._cancels[id_] = cancel
        try:
            yield _Told(note.hear, lambda: cancel.is_set() or cancelled())
        finally:
            del self._cancels[id_]
            note.close()

    def running(self) -> list[RunningPull]:
        """Return all that run, the oldest first, and remove what dead processes left.

        Raises:
            StoreError: The store cannot be read.
        """
        found = []
        with storage_errors(self._directory):
            for path in self._directory.glob("*.json"):
                if not is_held(path):
                    remove_unless_held(path)
                elif (pull := _read(path)) is not None:
                    found.append(replace(pull, can_cancel=pull.id in self._cancels))
        return sorted(found, key=lambda pull: (pull.began_at, pull.id))

    def cancel(self, id_: str) -> bool:
        """Tell a pull of this process to stop; return False where there is no such pull."""
        cancel = self._cancels.get(id_)
        if cancel is not None:
            cancel.set()
        return cancel is not None


@dataclass(frozen=True, slots=True)
class _Told:
    """What a pull is given in place of its caller's own."""

    progress: Progress
    cancelled: Callable[[], bool]


class _Note:
    """The file of one pull."""

    def __init__(self, directory: Path, pull: RunningPull, progress: Progress) -> None:
        self._path = directory / f"{pull.id}.json"
        self._pull = pull
        self._progress = progress
        self._count = TransferCount()
        self._descriptor: int | None = None
        self._written = 0.0

    def hear(self, event: ProgressEvent, /) -> None:
        """Take an event, and pass it on. `Transfer.report` calls this for one thread at a time."""
        self._count.take(event)
        status = event.status.replace(event.layer, "").strip() if event.layer else event.status
        if not event.was_there:
            self._write(status)
        self._progress(event)

    def close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)

    def _write(self, status: str) -> None:
        now = time.monotonic()
        if now - self._written < _WRITE_SECONDS and status == self._pull.status:
            return
        self._written = now
        self._pull = replace(
            self._pull,
            told_at=time.time(),
            status=status,
            done_bytes=self._count.done_bytes,
            size_bytes=self._count.size_bytes,
            bytes_per_second=self._count.rate(),
        )
        data = json.dumps(asdict(self._pull)).encode()
        with storage_errors(self._path):
            if self._descriptor is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._descriptor = lock(self._path, os.O_RDWR | os.O_CREAT)
            if self._descriptor is not None:
                os.pwrite(self._descriptor, data, 0)
                os.ftruncate(self._descriptor, len(data))


def _read(path: Path) -> RunningPull | None:
    """Return what a file says; None where it is gone, or another version of dmrc wrote it."""
    for _ in range(3):  # half of it may be of the former writing
        try:
            document = json.loads(path.read_bytes())
            known = {one.name for one in fields(RunningPull)}
            pull = RunningPull(**{name: value for name, value in document.items() if name in known})
        except OSError:
            return None
        except (ValueError, TypeError, AttributeError):
            continue
        is_silent = time.time() - pull.told_at > _SILENT_SECONDS
        return replace(pull, bytes_per_second=None) if is_silent else pull
    return None
