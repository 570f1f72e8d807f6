"""One conversation as turns: what is new in each request, what was answered, and what tools gave. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.conversation import Message, ToolCall, answered, message_of
from dmrc.conversations.names import model_of, service_of
from dmrc.exchange import Exchange
from dmrc.json_bytes import write_json

_SYSTEM = frozenset(("system", "developer"))


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool that a turn's answer called."""

    id: str
    """Names it in the message with its result."""
    name: str
    """Function."""
    arguments: str
    """JSON, as the model wrote it."""
    result: str | None
    """What the application sent back; None where no later request has it."""
    result_in: int | None
    """Number of the turn that brought the result."""


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """One request with its answer."""

    number: int
    """From 1 on, in the order in which they came in."""
    exchange: Exchange
    """Without its content."""
    service: str
    """Who asked."""
    model: str
    """Who was asked."""
    start_ms: float
    """When it came in, in milliseconds from the beginning of the conversation."""
    end_ms: float
    """When its answer was complete."""
    said: tuple[Message, ...]
    """Messages of the request that no former turn has; results of tools are with their calls."""
    repeated: int
    """How many messages of the request former turns have already."""
    answers: tuple[Message, ...]
    """The answer, one message for each choice, without the calls."""
    calls: tuple[ToolUse, ...]
    """Tools that the answer calls."""


@dataclass(frozen=True, slots=True)
class AppSpan:
    """The application's own time between a call of tools and the request with their results."""

    start_ms: float
    """When the answer with the calls was complete."""
    end_ms: float
    """When the request with the results came in."""
    names: tuple[str, ...]
    """The tools, each once."""
    after: int
    """Number of the turn that called them."""
    before: int
    """Number of the turn that has the results."""
    service: str
    """Whose time it is."""


@dataclass(frozen=True, slots=True)
class ToldConversation:
    """All turns, or the last ones, and the time between them."""

    turns: tuple[ConversationTurn, ...]
    """In the order in which they came in; one at least."""
    spans: tuple[AppSpan, ...]
    """In their order."""

    @property
    def started_at(self) -> float:
        """Return the Unix second at which it began."""
        return self.turns[0].exchange.received_at

    @property
    def duration_ms(self) -> float:
        """Return the milliseconds from the first request to the last end."""
        return max(turn.end_ms for turn in self.turns)


def conversation(
    exchanges: Iterable[Exchange], before: Iterable[Exchange] = (), first_number: int = 1
) -> ToldConversation:
    """Return the turns of exchanges of one conversation, which are given with their content, the oldest first.

    What was said in those `before` is no news either. The first turn has `first_number`.
    """
    reader = _Reader(first_number)
    for exchange in before:
        reader.learn(exchange)
    for exchange in exchanges:
        reader.read(exchange)
    turns = reader.turns()
    return ToldConversation(turns, tuple(_spans(turns)))


@dataclass(frozen=True, slots=True)
class _Read:
    """What one exchange has that those before it have not."""

    exchange: Exchange
    said: tuple[Message, ...]
    repeated: int
    answers: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """A message, and what is equal of those that say the same."""

    message: Message
    key: int


class _Reader:
    """Tells what is new in each request.

    A request repeats what was said: a beginning of it is known as a chain of hashes, so that the same word said twice
    is new twice. Where an application leaves out old messages, what stands before an answer that was given is no news.
    """

    def __init__(self, first_number: int) -> None:
        self._first_number = first_number
        self._messages: dict[bytes, _Known] = {}
        self._read: list[_Read] = []
        self._chains: set[int] = set()
        self._answers: set[int] = set()
        self._systems: set[int] = set()
        self._results: dict[str, list[tuple[str, int]]] = {}

    def learn(self, exchange: Exchange) -> None:
        """Know what was said in an exchange that is no turn."""
        self._tell(exchange)

    def read(self, exchange: Exchange) -> None:
        """Read the next turn."""
        self._read.append(self._tell(exchange))

    def _tell(self, exchange: Exchange) -> _Read:
        bodies = ParsedBodies()
        messages, answers = self._asked(exchange, bodies), answered(exchange, bodies)
        others = [one for one in messages if one.message.role not in _SYSTEM]
        known = self._known(others)
        systems = [one for one in messages if one.message.role in _SYSTEM and one.key not in self._systems]
        self._systems.update(one.key for one in systems)
        said = tuple(one.message for one in (*systems, *others[known:]))
        for one in said:
            if one.role == "tool" and one.call_id:
                self._results.setdefault(one.call_id, []).append((one.text, self._first_number + len(self._read)))
        self._answers.update(_key(one) for one in answers)
        self._learn(others, answers)
        bare = replace(exchange, request_body=b"", response_body=b"", chunk_offsets=())
        return _Read(bare, said, len(messages) - len(said), tuple(answers))

    def turns(self) -> tuple[ConversationTurn, ...]:
        """Return the turns of all that was read."""
        start = self._read[0].exchange.received_at if self._read else 0.0
        called = {call.id or call.name for one in self._read for answer in one.answers for call in answer.calls}
        return tuple(
            self._turn(number, one, start, called) for number, one in enumerate(self._read, self._first_number)
        )

    def _turn(self, number: int, read: _Read, start: float, called: set[str]) -> ConversationTurn:
        exchange = read.exchange
        began = max(exchange.received_at - start, 0.0) * 1000
        return ConversationTurn(
            number=number,
            exchange=exchange,
            service=service_of(exchange.service, exchange.client_address),
            model=model_of(exchange.model_key, exchange.model_requested, exchange.model_reference),
            start_ms=began,
            end_ms=began + (exchange.total_ms or 0.0),
            said=tuple(one for one in read.said if not (one.role == "tool" and one.call_id in called)),
            repeated=read.repeated,
            answers=tuple(replace(one, calls=()) for one in read.answers if one.text or one.reasoning),
            calls=tuple(self._call(call, number) for answer in read.answers for call in answer.calls),
        )

    def _call(self, call: ToolCall, number: int) -> ToolUse:
        # Ollama's results name the tool alone, and so may a later call of the same one.
        results = self._results.get(call.id) or self._results.get(call.name) or []
        text, brought = next(((text, brought) for text, brought in results if brought > number), (None, None))
        return ToolUse(call.id, call.name, call.arguments, text, brought)

    def _asked(self, exchange: Exchange, bodies: ParsedBodies) -> list[_Known]:
        """Return the messages of a request; one that many requests repeat is read once."""
        found = []
        for written in bodies.messages(exchange):
            known = self._messages.get(text := write_json(written))
            if known is None:
                message = message_of(written)
                known = self._messages[text] = _Known(message, _key(message))
            found.append(known)
        return found

    def _known(self, messages: Sequence[_Known]) -> int:
        """Return how many messages at the beginning were said before."""
        chain, known = 0, 0
        for at, one in enumerate(messages, start=1):
            chain = hash((chain, one.key))
            if chain in self._chains or (one.message.role == "assistant" and one.key in self._answers):
                known = at
        return known

    def _learn(self, messages: Sequence[_Known], answers: Sequence[Message]) -> None:
        chain = 0
        for one in messages:
            chain = hash((chain, one.key))
            self._chains.add(chain)
        self._chains.update(hash((chain, _key(answer))) for answer in answers)


def _key(message: Message) -> int:
    """Return what is equal of messages that say the same: applications send answers back in words of their own."""
    calls = tuple((call.name, _canonical(call.arguments)) for call in message.calls)
    return hash((message.role, message.text.strip(), calls, message.call_id))


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments.strip()


def _spans(turns: Sequence[ConversationTurn]) -> Iterable[AppSpan]:
    starts = {turn.number: turn.start_ms for turn in turns}
    for turn in turns:
        results: dict[int, dict[str, None]] = {}
        for call in turn.calls:
            if call.result_in is not None:
                results.setdefault(call.result_in, {})[call.name] = None
        for number, names in results.items():
            end = starts[number]
            if end > turn.end_ms:
                yield AppSpan(turn.end_ms, end, tuple(names), turn.number, number, turn.service)
