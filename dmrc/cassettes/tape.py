"""What a run records, on its way to the disk: written within a second by a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dmrc.cassettes.cassette import ANYONE, path_of
from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.interaction import Interaction
from dmrc.cassettes.matching import Matcher
from dmrc.cassettes.writing import Recorded, WriteCounts, write
from dmrc.fields import JsonObject

_log = logging.getLogger(__name__)

_WRITE_SECONDS = 0.5
_WAITING_BYTES = 64 << 20
"""Of answers that may wait while a disk is full; what comes then is left out."""


@dataclass(slots=True)
class _Track:
    """What is recorded of one service."""

    waiting: list[Recorded] = field(default_factory=list)
    waiting_bytes: int = 0
    turns: Counter[str] = field(default_factory=Counter)
    """Equal requests so far, by their key."""
    written: WriteCounts = field(default_factory=WriteCounts)
    left_out: Counter[str] = field(default_factory=Counter)
    """Requests that are not recorded, by the reason."""


class Tape:
    """Takes interactions in and writes them. For many threads; `add` never waits for a disk."""

    def __init__(self, directory: Path, matcher: Matcher, written: Callable[[str], None]) -> None:
        """Write to cassettes of `directory`; `written` hears, in the writing thread, which of them has changed."""
        self.trouble: str | None = None
        """Why what waits cannot be written; None where nothing is wrong."""
        self._directory = directory
        self._matcher = matcher
        self._changed = written
        self._tracks: dict[str, _Track] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, service: str | None, interaction: Interaction, at: float) -> None:
        """Take one in that was asked at a time, in Unix seconds: those that are written together are in that order."""
        key, size = self._matcher.key(interaction.asked), _size(interaction)
        with self._lock:
            track = self._tracks.setdefault(service or ANYONE, _Track())
            if track.waiting and track.waiting_bytes + size > _WAITING_BYTES:
                track.left_out["what waits to be written is too much"] += 1
                return
            track.waiting_bytes += size
            track.waiting.append(Recorded(interaction, key, track.turns[key], at))
            track.turns[key] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dmrc-cassettes", daemon=True)
                self._thread.start()
        self._wake.set()

    def leave_out(self, service: str | None, why: str) -> None:
        """Count a request that is not recorded."""
        with self._lock:
            self._tracks.setdefault(service or ANYONE, _Track()).left_out[why] += 1

    def rewind(self, service: str | None) -> None:
        """Have the next requests of a service count as the first ones: they take the places of equal ones again."""
        with self._lock:
            if (track := self._tracks.get(service or ANYONE)) is not None:
                track.turns.clear()

    def flush(self) -> None:
        """Write what waits; blocks."""
        with self._writing:
            self._write()

    def close(self) -> None:
        """Write what waits and end the thread; blocks."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def report(self) -> dict[str, JsonObject]:
        """Return what became of what was recorded, by service."""
        with self._lock:
            return {
                name: {
                    "recorded": track.written.added + track.written.replaced,
                    "replaced": track.written.replaced,
                    "unchanged": track.written.unchanged,
                    "written": [*sorted(set(track.written.places))],
                    "waiting": len(track.waiting),
                    "left_out": dict(track.left_out),
                }
                for name, track in self._tracks.items()
            }

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait()
            self._wake.clear()
            self._ending.wait(_WRITE_SECONDS)  # more may come meanwhile
            self.flush()
            if self.trouble is not None and not self._ending.is_set():
                self._ending.wait(_WRITE_SECONDS)
                self._wake.set()  # once more, as soon as there is room again

    def _write(self) -> None:
        with self._lock:
            waiting = {name: list(track.waiting) for name, track in self._tracks.items() if track.waiting}
        trouble: str | None = None
        for name, recorded in waiting.items():
            try:
                done = write(path_of(self._directory, name), name, sorted(recorded, key=_when), self._matcher)
            except CassetteError as error:
                trouble = str(error)
                continue  # another service's cassette may be well
            with self._lock:
                track = self._tracks[name]
                del track.waiting[: len(recorded)]
                track.waiting_bytes -= sum(_size(one.interaction) for one in recorded)
                track.written.added += done.added
                track.written.replaced += done.replaced
                track.written.unchanged += done.unchanged
                track.written.places += done.places
            if done.added or done.replaced:
                self._changed(name)
        if trouble is not None and trouble != self.trouble:
            _log.warning("requests cannot be recorded, and wait: %s", trouble)
        self.trouble = trouble


def _when(recorded: Recorded) -> float:
    return recorded.at


def _size(interaction: Interaction) -> int:
    return sum(len(piece.data) for piece in interaction.answer.pieces)
