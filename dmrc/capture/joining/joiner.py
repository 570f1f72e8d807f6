"""Decides which conversation an exchange belongs to. Fewer joins rather than one wrong join."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from dmrc.capture.joining import kinds
from dmrc.capture.joining.evidence import Evidence, Mark
from dmrc.capture.joining.memory import EvidenceMemory, Speaker
from dmrc.exchange import Exchange

_EXPLICIT = (kinds.RESPONSE, kinds.TRACE, kinds.CALL)
# Of these one mark is enough, and the first that anybody said is the likeliest.
_REPEATED = (kinds.CHAIN, kinds.FAILED, kinds.TURN)
# A caller may act on the last token before the end of the answer is noted.
_SLACK_SECONDS = 0.25
_FRESH_SECONDS = 600.0
_RECENT_SECONDS = 3600.0
# Who tries again does so at once; later it is somebody else, whose first words are the same.
_RETRIED_SECONDS = 60.0
_SHORT_RETRIED_SECONDS = 10.0
# Workers begin at once with the plan that all of them get; what is quoted on and on is kept for everybody.
_SHARED_SECONDS = 60.0
_LONG_FRAGMENT = 32
_MOST_MERGED = 32


class Joiner:
    """Joins exchanges in the order in which they finished; each is remembered by `remember` afterwards."""

    def __init__(self, memory: EvidenceMemory) -> None:
        """Know what `memory` knows."""
        self._memory = memory

    def join(self, exchange: Exchange, evidence: Evidence) -> str:
        """Return the id of the conversation that an exchange belongs to; its own where it begins one."""
        marks: list[list[Mark]] = [[] for _ in kinds.KINDS]
        for mark in evidence.repeats:
            marks[mark[0]].append(mark)
        if found := self._only(exchange, marks[kinds.SESSION]):
            return found.conversation
        known = [one for kind in _EXPLICIT if (one := self._only(exchange, marks[kind]))]
        if (repeated := self._repeated(exchange, evidence, marks)) is not None:
            known.append(repeated)
        if exchange.session_id is not None:
            known = known[:1]
        conversation = self._merged(exchange, [one.conversation for one in known])
        # What stands in the history of a known conversation is its own.
        fragments = evidence.fragments if conversation is None else evidence.fragments[: evidence.new_fragments]
        quoted = self._quoted(exchange, dict(fragments), evidence.has_history) if fragments else []
        return self._with_quoted(exchange, conversation, known, quoted)

    def _only(self, exchange: Exchange, marks: Sequence[Mark]) -> Speaker | None:
        """Return the newest who said one of the marks, where all of them are of one conversation."""
        if not marks:
            return None
        speakers = _possible(exchange, (speaker for _, speaker in self._memory.speakers(marks)))
        if len({one.conversation for one in speakers}) != 1:
            return None
        return max(speakers, key=lambda one: one.number)

    def _repeated(self, exchange: Exchange, evidence: Evidence, marks: Sequence[Sequence[Mark]]) -> Speaker | None:
        """Return who said what the request begins with; else the turn, or the failed request, that it repeats."""
        for kind in _REPEATED:
            for mark in marks[kind]:
                said = self._memory.speakers([mark])
                if kind == kinds.TURN:
                    said = [*said, *self._memory.speakers([(kinds.CHAIN, mark[1])])]
                speakers = _possible(exchange, (speaker for _, speaker in said))
                if kind == kinds.FAILED:
                    speakers = self._retried(exchange, evidence, mark, speakers)
                elif kind == kinds.CHAIN and evidence.is_short:
                    speakers = _since(exchange, speakers, _RECENT_SECONDS)
                if not speakers:
                    continue
                mark_of = {speaker.number: mark for mark, speaker in said}
                found = self._chosen(exchange, mark_of, speakers)
                if found is not None:
                    self._memory.go_on(mark_of[found.number], found)
                return found  # what is older says less
        return None

    def _retried(
        self, exchange: Exchange, evidence: Evidence, mark: Mark, speakers: Sequence[Speaker]
    ) -> list[Speaker]:
        """Return those whose failed request this one may be, sent again."""
        waiting = [one for one in speakers if not self._memory.is_continued(mark, one)]
        if evidence.has_history:
            return _since(exchange, waiting, _RECENT_SECONDS)
        same = [one for one in waiting if one.is_same_caller(exchange)]
        return _since(exchange, same, _SHORT_RETRIED_SECONDS if evidence.is_short else _RETRIED_SECONDS)

    def _chosen(self, exchange: Exchange, mark_of: Mapping[int, Mark], speakers: Sequence[Speaker]) -> Speaker | None:
        """Return the one of several who said the same from whom this request goes on; None where that is a guess.

        `mark_of` tells by the number of each as what it is noted.
        """
        newest = max(speakers, key=lambda one: one.number)
        if len({one.conversation for one in speakers}) == 1:
            return newest
        speakers = [one for one in speakers if one.is_same_caller(exchange)] or speakers
        waiting = [one for one in speakers if not self._memory.is_continued(mark_of[one.number], one)]
        if len({one.conversation for one in waiting}) == 1:
            return max(waiting, key=lambda one: one.number)
        fresh = _since(exchange, waiting, _FRESH_SECONDS)
        return fresh[0] if len(fresh) == 1 else None

    def _quoted(self, exchange: Exchange, lengths: dict[int, int], has_history: bool) -> list[Speaker]:
        """Return those of whose answers of the last hour enough stands in the request, a conversation each.

        `lengths` of its fragments, by their hashes.
        """
        marks = [(kinds.FRAGMENT, fragment) for fragment in lengths]
        by_mark: dict[Mark, list[Speaker]] = defaultdict(list)
        for mark, speaker in self._memory.speakers(marks):
            by_mark[mark].append(speaker)
        found: dict[int, tuple[Speaker, list[Mark]]] = {}
        for mark, said in by_mark.items():
            speakers = _since(exchange, _possible(exchange, said), _RECENT_SECONDS)
            if not speakers or any(_is_other_run(one, exchange) for one in speakers):
                continue
            if self._is_for_everybody(exchange, mark, speakers):
                continue
            chosen = self._chosen(exchange, {one.number: mark for one in speakers}, speakers)
            if chosen is not None:
                found.setdefault(chosen.number, (chosen, []))[1].append(mark)
        enough = {
            speaker.conversation: (speaker, quoted)
            for speaker, quoted in found.values()
            if self._is_enough(speaker, [lengths[fragment] for _, fragment in quoted], has_history)
        }
        for speaker, quoted in enough.values():
            for mark in quoted:
                self._memory.go_on(mark, speaker)
        return [speaker for speaker, _ in enough.values()]

    def _is_for_everybody(self, exchange: Exchange, mark: Mark, speakers: Sequence[Speaker]) -> bool:
        """Return whether others have quoted the same, and this is no worker that began at the same time."""
        at_once = _since(exchange, speakers, _SHARED_SECONDS)
        return not at_once and all(self._memory.is_continued(mark, one) for one in speakers)

    def _is_enough(self, speaker: Speaker, lengths: Sequence[int], has_history: bool) -> bool:
        """Return whether so much of an answer is quoted that nobody else will have said it."""
        if sum(lengths) < _LONG_FRAGMENT:
            return False
        if 2 * len(lengths) >= self._memory.said_by(kinds.FRAGMENT, speaker.number):
            return True
        # A plan of many steps, of which each worker gets one. Who has a history quotes what all answers say.
        return not has_history

    def _with_quoted(
        self, exchange: Exchange, conversation: str | None, known: Sequence[Speaker], quoted: Sequence[Speaker]
    ) -> str:
        """Return the conversation, joined with those that it quotes where they were begun by it, or by nobody."""
        others = [one.conversation for one in quoted if one.conversation != conversation]
        if conversation is None:
            if len(others) < 2:
                return others[0] if others else exchange.id
            alone = [one for one in others if self._is_alone(exchange, one)]
            rest = [one for one in others if one not in alone]
            if len(rest) > 1:
                return exchange.id
            return self._merged(exchange, [*rest, *alone], is_sure=True) or exchange.id
        began = min((one.finished_at for one in known), default=exchange.received_at)
        within = [one for one in others if self._is_within(one, began)]
        return self._merged(exchange, [conversation, *within], is_sure=True) or conversation

    def _is_alone(self, exchange: Exchange, conversation: str) -> bool:
        extent = self._memory.extent(conversation, 2)
        return extent is not None and extent.exchanges == 1 and exchange.received_at - extent.began_at < _FRESH_SECONDS

    def _is_within(self, conversation: str, began_at: float) -> bool:
        """Return whether all of a conversation was after this moment: an agent that was called as a tool."""
        extent = self._memory.extent(conversation, _MOST_MERGED)
        return extent is not None and extent.exchanges < _MOST_MERGED and extent.began_at >= began_at - _SLACK_SECONDS

    def _merged(self, exchange: Exchange, conversations: Sequence[str], *, is_sure: bool = False) -> str | None:
        """Return the oldest of the conversations, with the others made part of it where they have just begun."""
        if not conversations:
            return None
        first, *others = dict.fromkeys(conversations)
        for other in others:
            older, younger = sorted((first, other))  # ids sort by time
            extent = None if is_sure else self._memory.extent(younger, _MOST_MERGED)
            if is_sure or (
                extent is not None
                and extent.exchanges < _MOST_MERGED
                and exchange.received_at - extent.began_at < _FRESH_SECONDS
            ):
                self._memory.merge(younger, older)
                first = older
        return first


def _possible(exchange: Exchange, speakers: Iterable[Speaker]) -> list[Speaker]:
    """Return those who had said it when the request came in, and are of no other session."""
    return [
        one
        for one in speakers
        if one.finished_at <= exchange.received_at + _SLACK_SECONDS
        and (exchange.session_id is None or one.session_id in (None, exchange.session_id))
    ]


def _since(exchange: Exchange, speakers: Iterable[Speaker], seconds: float) -> list[Speaker]:
    return [one for one in speakers if exchange.received_at - one.finished_at <= seconds]


def _is_other_run(speaker: Speaker, exchange: Exchange) -> bool:
    """Return whether both have a trace, and not the same one."""
    return None not in (speaker.trace_id, exchange.trace_id) and speaker.trace_id != exchange.trace_id
