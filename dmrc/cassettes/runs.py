"""One run of a project with its cassettes: what is answered from them, what they lack, what is added to them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dmrc.cassettes.cassette import Cassette, Place, cassettes_in, path_of
from dmrc.cassettes.difference import Difference, first_difference, nearest
from dmrc.cassettes.equal import Equal
from dmrc.cassettes.errors import CassetteError, NotRecordedError
from dmrc.cassettes.forms import form_of, in_form
from dmrc.cassettes.interaction import Asked, Interaction, RecordedAnswer
from dmrc.cassettes.matching import Matcher
from dmrc.cassettes.tape import Tape
from dmrc.cassettes.writing import check_writable
from dmrc.exchange import Exchange
from dmrc.fields import JsonObject, JsonValue
from dmrc.project import Replay

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Use:
    """What this run made of one cassette."""

    used: Counter[int] = field(default_factory=Counter)
    """Times that each line was delivered."""
    repeated: int = 0
    """Answers that were given again, since no more had been recorded for an equal request."""


class Taken:
    """A recorded answer that is being given; for one thread, as the run is."""

    def __init__(self, interaction: Interaction, answer: RecordedAnswer, place: str, use: _Use, turn: int) -> None:
        """Hold what `ReplayRun.take` found."""
        self.interaction = interaction
        self.answer = answer
        """As it was asked for: a stream, or whole."""
        self.place = place
        """`api.jsonl:14`."""
        self._use = use
        self._turn = turn
        self._equal: Equal | None = None
        self._line = 0

    def of(self, equal: Equal | None, line: int) -> Taken:
        """Remember where it goes back to; None: it was given before, and belongs to nobody."""
        self._equal, self._line = equal, line
        return self

    def delivered(self) -> None:
        """Count it: the caller has all of it."""
        self._use.used[self._line] += 1
        self._use.repeated += self._equal is None
        if self._equal is not None:
            self._equal.under_way -= 1

    def released(self) -> None:
        """Give it back: the caller hung up, and whoever asks the same again shall have it."""
        if self._equal is not None:
            self._equal.give_back(self._turn)


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
        asked = self.asked
        request: JsonObject = {
            "dialect": asked.dialect,
            "operation": asked.operation,
            "path": asked.path,
            "model": asked.model,
            "body": asked.body,
        }
        return {
            "service": self.service,
            "request": request,
            "nearest": self.nearest,
            "difference": self.difference.to_json() if self.difference else None,
            "message": self.message,
        }


class ReplayRun:
    """One run; `take` and what follows from it are for one thread, the rest for any."""

    def __init__(self, replay: Replay, cassettes: Mapping[str, Cassette], matcher: Matcher) -> None:
        """Use `load`."""
        self.replay = replay
        self._matcher = matcher
        self._cassettes = dict(cassettes)
        self._equal: dict[tuple[str, str], Equal] = {}
        self._uses: dict[str, _Use] = {}
        self._misses: list[JsonValue] = []
        self._lock = threading.Lock()
        self._tape = Tape(Path(replay.directory), matcher, self._written)

    @classmethod
    def load(cls, replay: Replay) -> ReplayRun:
        """Open the cassettes of a directory; blocks.

        Raises:
            CassetteError: One cannot be read, file and line are named; or it cannot be written, and shall be.
        """
        if replay.writes:
            check_writable(Path(replay.directory))
        matcher = Matcher(replay.ignore)
        found = [Cassette.open(path, matcher) for path in cassettes_in(Path(replay.directory))]
        return cls(replay, {cassette.path.stem: cassette for cassette in found}, matcher)

    def key(self, asked: Asked) -> str:
        """Return what `take` looks for; of 1 MiB it takes some 20 ms. Any thread."""
        return self._matcher.key(asked)

    def take(self, service: str | None, asked: Asked, *, stream: bool, key: str | None = None) -> Taken | None:
        """Return the answer to a request as a stream or whole, or None where no cassette has it.

        `key` is that of `asked`, where it was computed before.

        Raises:
            CassetteError: Its line cannot be read any more, or cannot be given in this form.
        """
        key = key or self._matcher.key(asked)
        for cassette in self._of(service):
            if not (entries := cassette.find(key)):
                continue
            name = cassette.path.stem
            equal = self._equal.setdefault((name, key), Equal())
            form = form_of(asked, stream=stream)
            turn, is_again = equal.take(len(entries), partial(_has_form, cassette, entries, form))
            entry = entries[turn]
            try:
                interaction = cassette.interaction(entry)
                answer = in_form(interaction, asked, stream=stream)
            except BaseException:
                if not is_again:
                    equal.give_back(turn)
                raise
            use = self._uses.setdefault(name, _Use())
            taken = Taken(interaction, answer, cassette.place(entry), use, turn)
            return taken.of(None if is_again else equal, entry.number)
        return None

    def is_under_way(self, service: str | None, key: str) -> bool:
        """Return whether an equal request is being answered: who asks now may be the same, and have hung up there."""
        found = (self._equal.get((cassette.path.stem, key)) for cassette in self._of(service))
        return any(equal is not None and equal.under_way > 0 for equal in found)

    def miss(self, service: str | None, asked: Asked) -> Miss:
        """Note a request that `take` has not found, and return what to say of it; takes up to a second."""
        cassettes = self._of(service)
        found = nearest(self._matcher, asked, cassettes)
        who = f"service '{service}'" if service else "somebody"
        if found is None:
            where = f"'{path_of(Path(self.replay.directory), service)}'"
            has = "is empty" if cassettes else "is not there"
            message = f"{who} asked what is not recorded, and the cassette {where} {has}"
            miss = Miss(service, asked, message)
        else:
            place, other = found
            difference = first_difference(self._matcher, other, asked)
            message = f"{who} asked what is not recorded; the nearest is {place}: {difference}"
            miss = Miss(service, asked, message, place, difference)
        self.missed(miss)
        return miss

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
            use, cassette = self._uses.get(name) or _Use(), cassettes.get(name)
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
        """Return the cassettes that a service is answered from; of one that is not known all."""
        with self._lock:
            if service is None:
                return list(self._cassettes.values())
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


def _has_form(cassette: Cassette, entries: Sequence[Place], form: tuple[bool, bool], turn: int) -> bool:
    """Return whether one of some equal requests wanted its answer in this form; raises as `Cassette.asked` does."""
    return form_of(cassette.asked(entries[turn])) == form
