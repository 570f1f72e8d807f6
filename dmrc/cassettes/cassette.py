"""One cassette on disk: where each interaction stands, by what it asks. Its lines are read when they are wanted."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.interaction import Asked, Interaction
from dmrc.cassettes.lines import asked_in, interaction_in, is_cut_off, service_of
from dmrc.cassettes.matching import Matcher

_log = logging.getLogger(__name__)

SUFFIX = ".jsonl"
"""Of a cassette's name; what stands before it is its service."""

ANYONE = "_anyone"
"""Stands for the service in the cassette of requests of which no service is known."""


class Place(NamedTuple):
    """Where one interaction stands in its file."""

    number: int
    """Of its line; the header is line 1."""
    start: int
    """Offset of its first byte."""
    length: int
    """Bytes, without the end of the line."""
    key: str
    """`Matcher.key` of what is asked."""
    checksum: int
    """`hash` of its bytes, by which it is noticed that they have changed."""


class Cassette:
    """The interactions of one service, in the order of the file, as they were when it was opened. For many threads.

    Whoever replaces the file by another one changes nothing here, nor who adds to it; who changes a line is noticed.
    """

    def __init__(
        self, path: Path, service: str, entries: Sequence[Place], descriptor: int | None, cut_off_at: int | None = None
    ) -> None:
        """Use `open`, or `empty`."""
        self.path = path
        self.service = service
        self.entries = entries
        self.cut_off_at = cut_off_at
        """Offset of the last line where it is only a beginning, which is none of the entries: dmrc was killed then."""
        self._descriptor = descriptor
        self.stamp = _stamp(descriptor)
        """What tells whether somebody has written to it since; None of one that is not on disk."""
        # A run that reads a cassette again lets go of the former one, from which another thread may still read.
        self._closing = None if descriptor is None else weakref.finalize(self, os.close, descriptor)
        self._places: dict[str, list[Place]] = {}
        for entry in entries:
            self._places.setdefault(entry.key, []).append(entry)

    @classmethod
    def empty(cls, path: Path, service: str) -> Cassette:
        """Return one that is not on disk yet."""
        return cls(path, service, (), None)

    @classmethod
    def open(cls, path: Path, matcher: Matcher) -> Cassette:
        """Read what each line asks; blocks.

        Raises:
            CassetteError: It cannot be read; the line is named.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CassetteError(f"cassette '{path}' cannot be read: {error.strerror}") from error
        try:
            service, entries, cut_off_at = _read(path, descriptor, matcher)
            return cls(path, service, entries, descriptor, cut_off_at)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def is_current(self) -> bool:
        """Return whether what is on disk now is what was read."""
        return self.stamp == _stamp(self.path if self.path.exists() else None)

    def close(self) -> None:
        """Let go of the file."""
        self._descriptor = None
        if self._closing is not None:
            self._closing()

    def find(self, key: str) -> Sequence[Place]:
        """Return where interactions with this key stand, in the order of the file."""
        return self._places.get(key, ())

    def line(self, entry: Place) -> str:
        """Return a line, without its end.

        Raises:
            CassetteError: Somebody has changed it since the file was opened, or it cannot be read.
        """
        descriptor = self._descriptor
        try:
            line = b"" if descriptor is None else os.pread(descriptor, entry.length, entry.start)
        except OSError as error:
            raise CassetteError(f"cassette '{self.path}' cannot be read: {error.strerror}") from error
        if hash(line) != entry.checksum:
            raise CassetteError(
                f"cassette '{self.path}' was changed while it is in use",
                remedy="Begin the run again, as by dmrc up or dmrc exec",
            )
        return line.decode("utf-8", "replace")

    def asked(self, entry: Place) -> Asked:
        """Return what is asked there; raises as `line` does."""
        return asked_in(self.line(entry))

    def interaction(self, entry: Place) -> Interaction:
        """Return what stands there.

        Raises:
            CassetteError: It cannot be read, or the file has changed.
        """
        try:
            return interaction_in(self.line(entry))
        except CassetteError as error:
            raise placed(error, self.path, entry.number) from error

    def interactions(self) -> Iterator[tuple[Place, Interaction]]:
        """Yield all of them; raises as `interaction` does."""
        for entry in self.entries:
            yield entry, self.interaction(entry)

    def place(self, entry: Place) -> str:
        """Return what messages call a line: `api.jsonl:14`."""
        return f"{self.path.name}:{entry.number}"


def cassettes_in(directory: Path) -> list[Path]:
    """Return the cassettes of a directory, by name; none where it is not there."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.is_file())


def path_of(directory: Path, service: str | None) -> Path:
    """Return where the cassette of a service lies; None is for requests of which no service is known."""
    return directory / f"{service or ANYONE}{SUFFIX}"


def placed(error: CassetteError, path: Path, number: int) -> CassetteError:
    """Return an error with the line in which it is."""
    return CassetteError(f"{path}:{number}: {error.message}", remedy=error.remedy)


def _read(path: Path, descriptor: int, matcher: Matcher) -> tuple[str, list[Place], int | None]:
    """Return the service, where its interactions stand, and where a line begins that was cut off."""
    service, start = "", 0
    entries: list[Place] = []
    with os.fdopen(os.dup(descriptor), "rb") as file:
        for number, raw in enumerate(file, 1):
            if number > 1 and is_cut_off(raw):
                _log.warning("%s:%d: the line was cut off when it was written, and is left out", path, number)
                return service, entries, start
            try:
                line = raw.rstrip(b"\r\n")
                if number == 1:
                    service = service_of(line.decode())
                elif line.strip():
                    entries.append(Place(number, start, len(line), _key(line, matcher), hash(line)))
            except UnicodeDecodeError as error:
                raise placed(CassetteError(f"it is no UTF-8: {error}"), path, number) from error
            except CassetteError as error:
                raise placed(error, path, number) from error
            start += len(raw)
    if not service:
        raise CassetteError(f"cassette '{path}' is empty", remedy="Remove it, and record again")
    return service, entries, None


def _key(line: bytes, matcher: Matcher) -> str:
    """Return the key of what a line asks; of one that was read before, as it is then again and again, it is known."""
    known = hash(line)
    if (key := matcher.keys_of_lines.get(known)) is None:
        key = matcher.keys_of_lines[known] = matcher.key(asked_in(line.decode()))
    return key


def _stamp(file: int | Path | None) -> tuple[int, int] | None:
    """Return what tells whether somebody wrote into a file: its size, and when it was written, in nanoseconds."""
    if file is None:
        return None
    status = os.fstat(file) if isinstance(file, int) else file.stat()
    return status.st_size, status.st_mtime_ns
