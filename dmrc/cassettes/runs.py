"""One run of a project with its cassettes: what is answered from them, what they lack, what is added to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dmrc.cassettes.cassette import ANYONE, Cassette, cassettes_in, path_of
from dmrc.cassettes.difference import Difference, first_difference, nearest
from dmrc.cassettes.equal import Equal
from dmrc.cassettes.errors import CassetteError, NotRecordedError
from dmrc.cassettes.forms import form_of
from dmrc.cassettes.interaction import Asked, Interaction
from dmrc.cassettes.lines import request_of
from dmrc.cassettes.matching import Matcher
from dmrc.cassettes.tape import Tape
from dmrc.cassettes.turns import CassetteUse, Taken, Turn
from dmrc.cassettes.writing import check_writable
from dmrc.exchange import Exchange
from dmrc.fields import JsonObject, JsonValue
from dmrc.project import Replay

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Miss:
    """A request that no cassette holds."""

    service: str | None
    asked: Asked
    message: str
    """One line: what was asked for, the nearest that is recorded, and where they differ first."""
    nearest: str | None = None
    """Place of the nearest request that is recorded: `api.jsonl:14`."""
    difference: Difference | None = None

    def to_json(self) -> JsonObject:
        """Return it as a report has it."""
        return {
            "service": self.service,
            "request": request_of(self.asked),
            "nearest": self.nearest,
            "difference": self.difference.to_json() if self.difference else None,
            "message": self.message,
        }


class ReplayRun:
    """One run; turns are for one thread, the rest for any."""

    def __init__(self, replay: Replay, cassettes: Mapping[str, Cassette], matcher: Matcher) -> None:
        """Use `load`."""
        self.replay = replay
        self._matcher = matcher
        self._cassettes = dict(cassettes)
        self._equal: dict[tuple[str, str], Equal] = {}
        self._uses: dict[str, CassetteUse] = {}
        self._misses: list[JsonValue] = []
        self._lock = threading.Lock()
        self._tape = Tape(Path(replay.directory), matcher, self._written)

    @classmethod
    def load(cls, replay: Replay) -> ReplayRun:
        """Open the cassettes of a directory; blocks.

        Raises:
            CassetteError: One cannot be read, file and line are named; or it cannot be written, and shall be.
        """
        directory = Path(replay.directory)
        if directory.exists() and not directory.is_dir():
            raise CassetteError(f"'{directory}' is not a directory", remedy="Name the directory in which cassettes lie")
        if replay.writes:
            check_writable(directory)
        matcher = Matcher(replay.ignore)
        found = [Cassette.open(path, matcher) for path in cassettes_in(directory)]
        return cls(replay, {cassette.path.stem: cassette for cassette in found}, matcher)

    def key(self, asked: Asked) -> str:
        """Return what `turn` looks for; of 1 MiB it takes some 20 ms. Any thread."""
        return self._matcher.key(asked)

    def turn(self, service: str | None, asked: Asked, key: str, *, stream: bool) -> Turn | None:
        """Return what answers a request with this key, to be brought to its end; None where no cassette has it.

        Raises:
            CassetteError: A line of an equal request cannot be read any more.
        """
        for cassette in self._of(service):
            if entries := cassette.find(key):
                name = cassette.path.stem
                equal = self._equal.setdefault((name, key), Equal())
                use = self._uses.setdefault(name, CassetteUse())
                return Turn(cassette, entries, form_of(asked, stream=stream), equal, use)
        return None

    def take(self, service: str | None, asked: Asked, *, stream: bool) -> Taken | None:
        """Return the answer to a request as a stream or whole, or None where no cassette has it.

        Raises:
            CassetteError: Its line cannot be read any more, or cannot be given in this form.
        """
        turn = self.turn(service, asked, self.key(asked), stream=stream)
        if turn is None:
            return None
        try:
            return Taken(turn, turn.read(asked, stream=stream))
        except BaseException:
            turn.released()
            raise

    def is_under_way(self, service: str | None, key: str) -> bool:
        """Return whether an equal request is being answered: who asks now may be the same, and have hung up there."""
        found = (self._equal.get((cassette.path.stem, key)) for cassette in self._of(service))
        return any(equal is not None and equal.under_way > 0 for equal in found)

    def miss(self, service: str | None, asked: Asked) -> Miss:
        """Note a request that `take` has not found, and return what to say of it; takes up to a second."""
        who = f"service '{service}'" if service else "somebody"
        try:
            miss = self._compared(service, asked, who)
        except CassetteError as error:  # somebody has changed a cassette meanwhile
            miss = Miss(service, asked, f"{who} asked what is not recorded, and the nearest cannot be told: {error}")
        self.missed(miss)
        return miss

    def _compared(self, service: str | None, asked: Asked, who: str) -> Miss:
        cassettes = self._of(service)
        found = nearest(self._matcher, asked, cassettes)
        if found is None:
            where = f"'{path_of(Path(self.replay.directory), service)}'"
            has = "is empty" if cassettes else "is not there"
            return Miss(service, asked, f"{who} asked what is not recorded, and the cassette {where} {has}")
        place, other = found
        difference = first_difference(self._matcher, other, asked)
        message = f"{who} asked what is not recorded; the nearest is {place}: {difference}"
        return Miss(service, asked, message, place, difference)

    def missed(self, miss: Miss) -> None:
        """Note a miss for the report."""
        with self._lock:
            self._misses.append(miss.to_json())

    def add(self, exchange: Exchange) -> None:
        """Take an exchange in that has ended and is masked; it is on disk within a second."""
        try:
            interaction = Interaction.of(exchange)
        except NotRecordedError as error:
            self._tape.leave_out(exchange.service, error.message)
        else:
            self._tape.add(exchange.service, interaction, exchange.received_at)

    def changed(self) -> dict[str, Cassette]:
        """Return the cassettes that are not as they were read, read again, for `use`; blocks. Any thread.

        Raises:
            CassetteError: One cannot be read; file and line are named.
        """
        self.flush()  # what this run writes is no change
        with self._lock:
            known = dict(self._cassettes)
        found = {path.stem: path for path in cassettes_in(Path(self.replay.directory))}
        fresh = {
            name: Cassette.open(path, self._matcher)
            for name, path in found.items()
            if name not in known or not known[name].is_current
        }
        gone = {name: Cassette.empty(each.path, each.service) for name, each in known.items() if name not in found}
        return fresh | {name: each for name, each in gone.items() if known[name].entries}

    def use(self, changed: Mapping[str, Cassette]) -> None:
        """Use these from now on; what was counted of their lines said something of others."""
        with self._lock:
            self._cassettes |= changed
        self._equal = {place: equal for place, equal in self._equal.items() if place[0] not in changed}
        self._uses = {name: use for name, use in self._uses.items() if name not in changed}

    def rewind(self, service: str) -> None:
        """Answer a service from the start again, as its program begins anew; what it missed and used stays counted."""
        name = path_of(Path(), service).stem
        self._equal = {place: equal for place, equal in self._equal.items() if place[0] != name}
        self._tape.rewind(service)

    @property
    def missed_so_far(self) -> int:
        """How many requests no cassette held until now."""
        with self._lock:
            return len(self._misses)

    def flush(self) -> None:
        """Write what was recorded so far; blocks. What cannot be written is kept, and the report says why."""
        self._tape.flush()

    def report(self) -> JsonObject:
        """Return what became of the run; `docs/replay.md` says what stands in it."""
        with self._lock:
            misses = list(self._misses)
            cassettes = dict(self._cassettes)
        services: JsonObject = {}
        recorded = self._tape.report()
        for name in sorted({*cassettes, *recorded}):
            use, cassette = self._uses.get(name) or CassetteUse(), cassettes.get(name)
            lines: JsonObject = {str(number): times for number, times in sorted(use.used.items())}
            entry: JsonObject = {
                "file": str(path_of(Path(self.replay.directory), name)),
                "interactions": len(cassette.entries) if cassette else 0,
                "used": lines,
                "repeated": use.repeated,
                "stamp": list(cassette.stamp) if cassette and cassette.stamp else None,
            }
            services[name] = entry | recorded.get(name, {})
        return {
            "mode": self.replay.mode,
            "directory": self.replay.directory,
            "services": services,
            "misses": misses,
            "trouble": self._tape.trouble,
        }

    def close(self) -> None:
        """Write what is left, and let go of the files; blocks."""
        self._tape.close()
        for cassette in self._cassettes.values():
            cassette.close()

    def _of(self, service: str | None) -> list[Cassette]:
        """Return the cassettes that a service is answered from; of one that is not known all, its own first."""
        with self._lock:
            if service is None:
                return sorted(self._cassettes.values(), key=lambda cassette: cassette.path.stem != ANYONE)
            found = self._cassettes.get(path_of(Path(), service).stem)
            return [found] if found is not None else []

    def _written(self, name: str) -> None:
        """Read a cassette again that was written to: what was added is answered from now on."""
        path = path_of(Path(self.replay.directory), name)
        try:
            fresh = Cassette.open(path, self._matcher)
        except CassetteError as error:
            _log.warning("%s", error)
            return
        with self._lock:
            self._cassettes[name] = fresh
