"""What an exchange says, and what it repeats of former ones: as hashes, by which requests are joined to conversations.

A hash includes the scope: the project of the caller, else its key, else its address. What one project said is found by
nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.conversation import answer_document
from dmrc.capture.joining import kinds
from dmrc.capture.joining.fragments import WHITESPACE, fragments_in, fragments_of, is_echo
from dmrc.capture.joining.history import ChatHistory, calls_of, read_history, text_of
from dmrc.exchange import Exchange, JsonValue
from dmrc.json_values import items_of, object_of

Mark = tuple[int, int]
"""A kind and a hash of 64 bits, signed."""

_MOST_CALLS = 8
_MOST_ANSWERS = 8
_MOST_TURNS = 4
# What is shorter is said alike in many conversations.
_SHORTEST_TURN = 48
# So many messages with an answer at their end are no other conversation's, however it began.
_CHAIN = 8
# Ids that servers draw at random have letters and digits in one word; `call_0` and `functions.find:0` have not.
_RANDOM_ID = re.compile(r"(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9]{8,}|[0-9a-f]{4,12}(?:-[0-9a-f]{4,12}){3,}")


class Evidence(NamedTuple):
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
    messages = bodies.messages(exchange)
    choices = items_of(answer_document(exchange, bodies).get("choices"))[:_MOST_ANSWERS]
    answers = [_answer(choice) for choice in choices]
    if conversation := _id_of(document.get("conversation")):
        named.append((kinds.SESSION, scope.text(f"conversation {conversation}")))
    says, repeats = list(named), list(named)
    if previous := document.get("previous_response_id"):
        repeats.append((kinds.RESPONSE, scope.text(str(previous))))
    if exchange.operation == "response" and (response_id := _response_id(exchange, bodies)):
        says.append((kinds.RESPONSE, scope.text(response_id)))
    repeats += _calls(_repeated_calls(messages), scope)
    says += _calls((call.id for answer in answers for call in calls_of(answer)), scope)
    history = read_history(messages)
    _add_history(exchange, scope, history, answers, says, repeats)
    says += _said_fragments(exchange, scope, answers)
    new, former = fragments_in([(one.get("role") == "assistant", text_of(one)) for one in reversed(messages)])
    held = {scope.hash(piece): len(piece) for piece in new}
    return Evidence(
        says=says,
        repeats=repeats,
        fragments=[*(held | {scope.hash(piece): len(piece) for piece in former}).items()],
        new_fragments=len(held),
        is_short=sum(map(len, history.parts)) < _SHORTEST_TURN,
        has_history=bool(history.answer_ends),
    )


def _add_history(
    exchange: Exchange,
    scope: _Scope,
    history: ChatHistory,
    answers: Sequence[Mapping[str, JsonValue]],
    says: list[Mark],
    repeats: list[Mark],
) -> None:
    """Add what the messages and answers say and repeat."""
    parts = history.parts
    if not parts:
        return
    ends = history.answer_ends[:_MOST_TURNS]
    repeats += ((kinds.CHAIN, scope.hash(*parts[max(end - _CHAIN, 0) : end])) for end in ends)
    failed = (kinds.FAILED, scope.hash(*parts[-_CHAIN:]))
    repeats.append(failed)
    repeats += (mark for end in ends for mark in _turn(scope, parts[max(end - 2, 0) : end]))
    if is_failed(exchange):
        says.append(failed)
    for answer in answers:
        if said := read_history((answer,)).parts:
            says.append((kinds.CHAIN, scope.hash(*parts[1 - _CHAIN :], *said)))
            if len(parts) > 1:  # else both are the same
                # What was said before, as an example of every prompt that is asked itself, is nobody's own.
                says += [mark for mark in _turn(scope, (parts[-1], *said)) if mark not in repeats]


def _turn(scope: _Scope, parts: Sequence[bytes]) -> Iterator[Mark]:
    if sum(map(len, parts)) >= _SHORTEST_TURN:
        yield kinds.TURN, scope.hash(*parts)


def _said_fragments(exchange: Exchange, scope: _Scope, answers: Sequence[Mapping[str, JsonValue]]) -> Iterator[Mark]:
    for answer in answers:
        for piece in fragments_of(text_of(answer), [call.arguments for call in calls_of(answer)]):
            if not is_echo(piece, exchange.request_body):
                packed = piece.encode("utf-8", "replace").translate(None, WHITESPACE)
                yield kinds.FRAGMENT, scope.hash(packed)


def _answer(choice: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return a choice as a message; one of a plain completion has its text beside."""
    return {"role": "assistant", "content": choice.get("text"), **object_of(choice.get("message"))}


def is_failed(exchange: Exchange) -> bool:
    """Return whether a caller has a reason to send the same again."""
    return exchange.client_disconnected or exchange.error_type is not None or (exchange.status or 500) >= 400


def _named_by_caller(exchange: Exchange, scope: _Scope) -> Iterator[Mark]:
    if exchange.session_id:
        yield kinds.SESSION, scope.text(f"session {exchange.session_id}")
    if exchange.trace_id:
        yield kinds.TRACE, scope.text(f"trace {exchange.trace_id}")


def _repeated_calls(messages: Sequence[Mapping[str, JsonValue]]) -> Iterator[str]:
    """Yield ids of calls, those of the newest messages first."""
    for message in reversed(messages):
        if isinstance(call_id := message.get("tool_call_id"), str):
            yield call_id
        if "tool_calls" in message:
            yield from (id for call in items_of(message["tool_calls"]) if isinstance(id := call.get("id"), str))


def _calls(ids: Iterator[str], scope: _Scope) -> list[Mark]:
    distinct: dict[str, None] = {}
    for one in ids:
        if _RANDOM_ID.search(one):
            distinct[one] = None
            if len(distinct) == _MOST_CALLS:
                break
    return [(kinds.CALL, scope.text(one)) for one in distinct]


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
