"""Writes what was recorded to a cassette: in the place of what was recorded for the same request, else at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dmrc.cassettes.cassette import Cassette, cassettes_in
from dmrc.cassettes.errors import CassetteError
from dmrc.cassettes.interaction import Interaction
from dmrc.cassettes.lines import header, line_of
from dmrc.cassettes.matching import Matcher
from dmrc.cassettes.sameness import says_same
from dmrc.files import make_as_its_parent, mode_in, replace_file


@dataclass(frozen=True, slots=True)
class Recorded:
    """An interaction that is to be written."""

    interaction: Interaction
    key: str
    """`Matcher.key` of what is asked."""
    turn: int
    """How many equal requests came before it in this run: it takes the place of that one of the file's."""
    at: float = 0.0
    """When it was asked, in Unix seconds."""


@dataclass(slots=True)
class WriteCounts:
    """What became of the interactions that were recorded."""

    added: int = 0
    """At the end of the file."""
    replaced: int = 0
    """In the place of an answer that says something else."""
    unchanged: int = 0
    """Said what the file has already; its line stays as it is."""
    places: list[int] = field(default_factory=list)
    """The line of each, in the order given."""


def write(path: Path, service: str, recorded: Sequence[Recorded], matcher: Matcher) -> WriteCounts:
    """Write to a cassette, which need not be there yet; blocks. Another process that writes it is waited for.

    Nothing that the file holds is dropped. Lines are added, or the file is replaced as a whole: whoever is killed
    leaves a cassette that can be read.

    Raises:
        CassetteError: What is there is no cassette, or it cannot be written.
    """
    try:
        make_as_its_parent(path.parent)
        with locked(path.parent):
            return _write(path, service, recorded, matcher)
    except OSError as error:
        raise CassetteError(f"cassette '{path}' cannot be written: {error.strerror}") from error


def check_writable(directory: Path) -> None:
    """Check that the cassettes of a directory can be written, and new ones, before anything is asked for them.

    Raises:
        CassetteError: They cannot; the one is named.
    """
    there = next(path for path in (directory, *directory.parents) if path.exists())
    for path in (there, *cassettes_in(directory)):
        if not os.access(path, os.W_OK):
            raise CassetteError(
                f"'{path}' cannot be written, and what is recorded belongs there",
                remedy="Make it writable, or name another directory",
            )


def rewrite(path: Path, service: str, lines: Sequence[str]) -> None:
    """Replace a cassette by one with these lines of interactions; the caller holds the lock (`locked`).

    Cassettes are committed, and read by others: whoever may read their directory may read them.

    Raises:
        OSError: It cannot be written.
    """
    text = "".join(f"{line}\n" for line in (header(service), *lines))
    replace_file(path, text.encode(), mode_in(path), past_umask=True)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes from writing cassettes of a directory. The lock is the directory's own: no file is left."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, service: str, recorded: Sequence[Recorded], matcher: Matcher) -> WriteCounts:
    written = WriteCounts()
    cassette = Cassette.open(path, matcher) if path.exists() else Cassette.empty(path, service)
    try:
        new: list[str] = []
        changed: dict[int, str] = {}
        last = cassette.entries[-1].number if cassette.entries else 1
        for one in recorded:
            places = cassette.find(one.key)
            if one.turn >= len(places):
                new.append(line_of(one.interaction))
                written.added += 1
                written.places.append(last + len(new))
                continue
            entry = places[one.turn]
            written.places.append(entry.number)
            if says_same(cassette.interaction(entry), one.interaction):
                written.unchanged += 1
            else:
                changed[entry.number] = line_of(one.interaction)
                written.replaced += 1
        if changed or (new and not cassette.entries):
            old = [changed.get(entry.number) or cassette.line(entry) for entry in cassette.entries]
            rewrite(path, cassette.service or service, [*old, *new])
        elif new:
            _append(path, new, cassette.cut_off_at)
    finally:
        cassette.close()
    return written


def _append(path: Path, lines: Sequence[str], cut_off_at: int | None) -> None:
    with path.open("r+b") as file:
        if cut_off_at is not None:
            file.truncate(cut_off_at)
        end = file.seek(0, os.SEEK_END)
        file.seek(end - 1)
        begin = b"" if file.read(1) == b"\n" else b"\n"  # a person's editor may leave the last line without an end
        try:
            file.write(begin + "".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), end)  # half a line would make the whole cassette unreadable
            raise
