"""A bounded memory of evidence without a file, and what plugins ask for the conversation of an exchange."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

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


class ConversationMemory:
    """Tells to which conversation each exchange belongs, by those of which it was told before. Safe in threads."""

    def __init__(self) -> None:
        """Know none. The last 10,000 exchanges are remembered, as hashes."""
        self._memory = LocalMemory()
        self._joiner = Joiner(self._memory)
        self._lock = threading.Lock()

    def join(self, exchange: Exchange) -> str | None:
        """Return the id of the first exchange of the conversation, maybe its own; None where nothing tells it.

        To be called once for each exchange, in the order in which they finished.
        """
        evidence = evidence_of(exchange)
        if evidence is None:
            return None
        with self._lock:
            conversation = self._joiner.join(exchange, evidence)
            self._memory.remember(exchange, conversation, evidence.says)
            return conversation
