"""A bounded memory of evidence without a file, and what plugins ask for the conversation of an exchange."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.conversation import Message, answered, asked
from dmrc.capture.joining.evidence import Mark, evidence_of
from dmrc.capture.joining.joiner import Joiner
from dmrc.capture.joining.memory import MOST_FOUND, Extent, Speaker, finished_at
from dmrc.exchange import Exchange

_MOST_EXCHANGES = 10_000


@dataclass(slots=True)
class _Remembered:
    speaker: Speaker
    id: str
    received_at: float
    marks: Sequence[Mark]
    continued: set[Mark] = field(default_factory=set)


class LocalMemory:
    """What the newest exchanges said; see `EvidenceMemory`."""

    def __init__(self, most: int = _MOST_EXCHANGES) -> None:
        """Remember so many exchanges."""
        self._most = most
        self._next = 0
        self._exchanges: OrderedDict[int, _Remembered] = OrderedDict()
        self._said: dict[Mark, deque[int]] = {}
        self._members: dict[str, list[int]] = {}

    def speakers(self, marks: Sequence[Mark]) -> list[tuple[Mark, Speaker]]:
        """Return who said each of the marks; see `EvidenceMemory`."""
        found = ((mark, number) for mark in marks for number in list(self._said.get(mark, ()))[-MOST_FOUND:])
        return [(mark, self._exchanges[number].speaker) for mark, number in found]

    def said_by(self, kind: int, number: int) -> int:
        return sum(mark[0] == kind for mark in self._exchanges[number].marks)

    def is_continued(self, mark: Mark, speaker: Speaker) -> bool:
        return mark in self._exchanges[speaker.number].continued

    def go_on(self, mark: Mark, speaker: Speaker) -> None:
        """Note that somebody went on from there; see `EvidenceMemory`."""
        self._exchanges[speaker.number].continued.add(mark)

    def extent(self, conversation: str, most: int) -> Extent | None:
        numbers = self._members.get(conversation, [])[:most]
        began = [self._exchanges[number].received_at for number in numbers]
        return Extent(len(numbers), min(began)) if began else None

    def merge(self, conversation: str, into: str) -> None:
        for number in (numbers := self._members.pop(conversation, [])):
            one = self._exchanges[number]
            one.speaker = replace(one.speaker, conversation=into)
        self._members[into] = sorted([*self._members.get(into, ()), *numbers])

    def remember(self, exchange: Exchange, conversation: str, marks: Sequence[Mark]) -> None:
        """Note what an exchange said; the oldest is forgotten for it."""
        number, self._next = self._next, self._next + 1
        speaker = Speaker(
            number,
            conversation,
            finished_at(exchange),
            exchange.trace_id,
            exchange.session_id,
            exchange.service,
            exchange.client_address,
        )
        self._exchanges[number] = _Remembered(speaker, exchange.id, exchange.received_at, marks)
        self._members.setdefault(conversation, []).append(number)
        for mark in marks:
            self._said.setdefault(mark, deque()).append(number)
        if len(self._exchanges) > self._most:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        number, one = self._exchanges.popitem(last=False)
        for mark in one.marks:
            self._said[mark].remove(number)
            if not self._said[mark]:
                del self._said[mark]
        members = self._members[one.speaker.conversation]
        members.remove(number)
        if not members:
            del self._members[one.speaker.conversation]


@dataclass(frozen=True, slots=True)
class ToolRun:
    """A tool that an app ran between two requests."""

    name: str
    """Of the tool."""
    call_id: str
    """Of the call; "" where the dialect has none."""
    began_at: float
    """When the answer that called it was there; Unix seconds."""
    ended_at: float
    """When the request with its result came; Unix seconds."""


@dataclass(frozen=True, slots=True)
class JoinedExchange:
    """Where an exchange belongs."""

    conversation_id: str
    """Id of the first exchange of the conversation, maybe its own."""
    tools: tuple[ToolRun, ...]
    """Whose results it brings."""


class ConversationMemory:
    """Tells to which conversation each exchange belongs, by those of which it was told before. Safe in threads."""

    def __init__(self) -> None:
        """Know none. The last 10,000 exchanges are remembered, as hashes, and as many calls of tools, by name."""
        self._memory = LocalMemory()
        self._joiner = Joiner(self._memory)
        self._calls: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def join(self, exchange: Exchange) -> JoinedExchange | None:
        """Return where an exchange belongs; None where neither its content nor its caller tells it.

        To be called once for each exchange, in the order in which they finished.
        """
        bodies = ParsedBodies()
        evidence = evidence_of(exchange, bodies)
        if evidence is None:
            return None
        with self._lock:
            conversation = self._joiner.join(exchange, evidence)
            self._memory.remember(exchange, conversation, evidence.says)
            tools = tuple(self._ended(conversation, asked(exchange, bodies), exchange.received_at))
            self._begin(conversation, answered(exchange, bodies), finished_at(exchange))
            return JoinedExchange(conversation, tools)

    def _ended(self, conversation: str, messages: Sequence[Message], now: float) -> Iterator[ToolRun]:
        """Yield the tools whose results came since the last answer, each once."""
        for message in takewhile(lambda one: one.role != "assistant", reversed(messages)):
            begun = self._calls.pop((conversation, message.call_id), None) if message.call_id else None
            if begun is not None:
                name, began_at = begun
                yield ToolRun(name, "" if message.call_id == name else str(message.call_id), began_at, now)

    def _begin(self, conversation: str, answers: Sequence[Message], now: float) -> None:
        for call in (call for answer in answers for call in answer.calls):
            self._calls[conversation, call.id or call.name] = (call.name, now)
        while len(self._calls) > _MOST_EXCHANGES:
            self._calls.popitem(last=False)
