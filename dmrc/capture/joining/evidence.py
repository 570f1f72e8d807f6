"""What an exchange says, and what it repeats of former ones: as hashes, by which requests are joined to conversations.

A hash includes the scope: the project of the caller, else its key, else its address. What one project said is found by
nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Any

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.conversation import Message, answered, asked
from dmrc.capture.joining.fragments import WHITESPACE, fragments_in, fragments_of, spread
from dmrc.capture.joining.history import read_history
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import object_of


class EvidenceKind(IntEnum):
    """Kinds of evidence, the strongest first."""

    SESSION = 0
    """The caller named its conversation: by `x-session-id`, or as `conversation` of the Responses."""
    RESPONSE = 1
    """Id of an answer of the Responses, which a request names as `previous_response_id`."""
    TRACE = 2
    """The caller's trace."""
    CALL = 3
    """Id of a call of a tool: said in the answer, repeated with the result."""
    CHAIN = 4
    """All messages but those of the system, up to and with an answer."""
    FAILED = 5
    """All messages of a request that got no answer: who sends them again tries once more."""
    TURN = 6
    """One answer and what was asked before it, where earlier messages were left out or summarised."""
    FRAGMENT = 7
    """A sentence or line of an answer, in whatever text it is repeated."""


Mark = tuple[int, int]
"""A kind and a hash of 64 bits, signed."""

_MOST_CALLS = 8
_MOST_ANSWERS = 8
_MOST_TURNS = 4
# What is shorter is said alike in many conversations.
_SHORTEST_TURN = 48
# Ids that servers draw at random have letters and digits in one word; `call_0` and `functions.find:0` have not.
_RANDOM_ID = re.compile(r"(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9]{8,}|[0-9a-f]{4,12}(?:-[0-9a-f]{4,12}){3,}")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one exchange."""

    says: Sequence[Mark] = ()
    """What later requests may repeat."""
    repeats: Sequence[Mark] = ()
    """What it may repeat of former exchanges, but for fragments; of a kind the likeliest first."""
    fragments: Sequence[tuple[int, int]] = ()
    """Hash and length of each fragment of its messages, the newest first."""
    new_fragments: int = 0
    """So many of these are of the messages since the last answer."""
    is_short: bool = False
    """Whether its messages are so few words that another conversation may well have the same."""
    has_history: bool = False
    """Whether there are answers among its messages."""

    def to_json(self) -> list[Any]:
        """Return it as JSON: `[[[4, -81]], [], [[17, 40]], 1, false, true]`, in the order of its fields."""
        return [self.says, self.repeats, self.fragments, self.new_fragments, self.is_short, self.has_history]

    @classmethod
    def from_json(cls, values: list[Any] | None) -> Evidence | None:
        """Return what `to_json` wrote; None of None."""
        if values is None:
            return None
        says, repeats, fragments = ([(one, other) for one, other in pairs] for pairs in values[:3])
        return cls(says, repeats, fragments, *values[3:])


class _Scope:
    """Hashes what is said in one scope."""

    def __init__(self, exchange: Exchange) -> None:
        who = exchange.project or exchange.key_id or exchange.client_address or ""
        kind = "project" if exchange.project else "key" if exchange.key_id else "address"
        self._begun = blake2b(f"{kind} {who}\n".encode("utf-8", "replace"), digest_size=8)

    def hash(self, *parts: bytes) -> int:
        hashed = self._begun.copy()
        for part in parts:
            hashed.update(part)
        return int.from_bytes(hashed.digest(), signed=True)

    def chain(self, parts: Sequence[bytes]) -> list[int]:
        """Return the hash of the first part, of the first two, and so on."""
        hashed, found = self._begun.copy(), []
        for part in parts:
            hashed.update(part)
            found.append(int.from_bytes(hashed.copy().digest(), signed=True))
        return found

    def text(self, text: str) -> int:
        return self.hash(text.encode("utf-8", "replace"))


def evidence_of(exchange: Exchange, bodies: ParsedBodies | None = None) -> Evidence | None:
    """Return the evidence of an exchange as it is recorded; None where neither content nor caller tells anything.

    `bodies` has read them, or reads them now.
    """
    bodies, scope = bodies or ParsedBodies(), _Scope(exchange)
    named = [*_named_by_caller(exchange, scope)]
    if not exchange.request_body:
        return Evidence(says=named, repeats=named) if named else None
    document = bodies.whole(exchange.request_body)
    messages, answers = asked(exchange, bodies), answered(exchange, bodies)[:_MOST_ANSWERS]
    if conversation := _id_of(document.get("conversation")):
        named.append((EvidenceKind.SESSION, scope.text(f"conversation {conversation}")))
    says, repeats = list(named), list(named)
    if previous := document.get("previous_response_id"):
        repeats.append((EvidenceKind.RESPONSE, scope.text(str(previous))))
    if exchange.operation == "response" and (response_id := _response_id(exchange, bodies)):
        says.append((EvidenceKind.RESPONSE, scope.text(response_id)))
    repeats += _calls(_repeated_calls(messages), scope)
    says += _calls((call.id for answer in answers for call in answer.calls), scope)
    return _with_words(exchange, scope, messages, answers, says, repeats)


def _with_words(
    exchange: Exchange,
    scope: _Scope,
    messages: Sequence[Message],
    answers: Sequence[Message],
    says: list[Mark],
    repeats: list[Mark],
) -> Evidence:
    """Add what the words of the messages and answers say and repeat."""
    history = read_history(messages)
    chain = scope.chain(history.parts)
    repeats += ((EvidenceKind.CHAIN, chain[end - 1]) for end in history.answer_ends[:_MOST_TURNS])
    failed = [(EvidenceKind.FAILED, one) for one in chain[-1:]]
    repeats += failed
    repeats += (
        (EvidenceKind.TURN, scope.hash(*turn))
        for turn in history.turns[:_MOST_TURNS]
        if sum(map(len, turn)) >= _SHORTEST_TURN
    )
    if is_failed(exchange):
        says += failed
    for answer in answers:
        said = read_history((answer,)).parts
        if not said or not history.parts:
            continue
        says.append((EvidenceKind.CHAIN, scope.hash(*history.parts, *said)))
        turn = (history.parts[-1], *said)
        if sum(map(len, turn)) >= _SHORTEST_TURN:
            says.append((EvidenceKind.TURN, scope.hash(*turn)))
    everything = b"\n".join(message.text.encode("utf-8", "replace").translate(None, WHITESPACE) for message in messages)
    own = (piece for piece in fragments_of(answers) if piece not in everything)  # what echoes its prompt says nothing
    says += spread([(EvidenceKind.FRAGMENT, scope.hash(piece)) for piece in own])
    held = [[(scope.hash(piece), len(piece)) for piece in pieces] for pieces in fragments_in(messages)]
    new = dict(held[0])
    return Evidence(
        says=tuple(dict.fromkeys(says)),
        repeats=tuple(dict.fromkeys(repeats)),
        fragments=tuple((new | dict(held[1])).items()),
        new_fragments=len(new),
        is_short=sum(map(len, history.parts)) < _SHORTEST_TURN,
        has_history=bool(history.answer_ends),
    )


def is_failed(exchange: Exchange) -> bool:
    """Return whether a caller has a reason to send the same again."""
    return exchange.client_disconnected or exchange.error_type is not None or (exchange.status or 500) >= 400


def _named_by_caller(exchange: Exchange, scope: _Scope) -> Iterator[Mark]:
    if exchange.session_id:
        yield EvidenceKind.SESSION, scope.text(f"session {exchange.session_id}")
    if exchange.trace_id:
        yield EvidenceKind.TRACE, scope.text(f"trace {exchange.trace_id}")


def _repeated_calls(messages: Sequence[Message]) -> Iterator[str]:
    """Yield ids of calls, those of the newest messages first."""
    for message in reversed(messages):
        if message.call_id:
            yield message.call_id
        yield from (call.id for call in message.calls)


def _calls(ids: Iterator[str], scope: _Scope) -> list[Mark]:
    distinct = dict.fromkeys(one for one in ids if _RANDOM_ID.search(one))
    return [(EvidenceKind.CALL, scope.text(one)) for one in list(distinct)[:_MOST_CALLS]]


def _response_id(exchange: Exchange, bodies: ParsedBodies) -> str | None:
    """Return the id of an answer of the Responses; its stream begins with it."""
    for one in bodies.of(exchange.response_body).documents[:1]:
        said = object_of(one.value) if isinstance(one.value, dict) else {}
        return _id_of(said.get("response") or said)
    return None


def _id_of(value: JsonValue) -> str | None:
    """Return an id that stands by itself, or in an object."""
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None
