"""What an engine streams is read once and written once, and where nothing changes it, neither (issue 17, point 1)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from types import SimpleNamespace

import orjson
import pytest
from starlette.types import Message

from dmrc.dialects.anthropic.routes import AnthropicMessages
from dmrc.dialects.chat.checks import checked
from dmrc.dialects.chat.served import Served
from dmrc.dialects.dialect import Call, Route
from dmrc.dialects.ollama.routes import OllamaChat
from dmrc.dialects.openai.routes import OpenAIRoute
from dmrc.dialects.responses.routes import ResponsesRoute
from dmrc.event_stream import events
from dmrc.exchange import JsonValue
from dmrc.gateway.inference.engine_client import EngineClient
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.filters import Filters
from dmrc.gateway.inference.forwarding import forward
from dmrc.gateway.streams.processes import StreamProcesses
from dmrc.hooks.plugins import Plugins
from dmrc.streaming import Sink, chunks_of
from tests.gateway.answering import chat_stream

SCOPE = {"type": "http", "method": "POST", "path": "/", "headers": [], "client": ("127.0.0.1", 1)}
SERVED = Served("m", "llama-server", template="{{ tools }}")
CHAT = OpenAIRoute("chat/completions", "chat")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "weather", "parameters": SCHEMA}
WISH: dict[str, JsonValue] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
FORCED: dict[str, JsonValue] = {
    **WISH,
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
}
FORCED_BY_ANTHROPIC: dict[str, JsonValue] = {
    **WISH,
    "max_tokens": 99,
    "tools": [{"name": "weather", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "weather"},
}
FORCED_BY_RESPONSES: dict[str, JsonValue] = {
    **{"model": "m", "stream": True, "store": False, "input": "Hi", "tools": [{"type": "function", **FUNCTION}]},
    "tool_choice": {"type": "function", "name": "weather"},
}
WORDS = ["one", " two", " three", " four"]
CALL = ['{"name": "weather", ', '"arguments": {"city"', ': "Bern"', "}}"]


class SyntheticAnswer:
    """A stream of an engine, an event at a time."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "text/event-stream"}

    def __init__(self, stream: bytes) -> None:
        # The name of the model as the gateway writes it: nothing is to be changed.
        named = stream.replace(b'"model": "m"', b'"model":"m"')
        self.events = [event + b"\n\n" for event in named.split(b"\n\n") if event]

    def close(self) -> None:
        pass

    replica = None

    async def into(self, sink: Sink) -> None:
        for event in self.events:
            sink.take(event)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return chunks_of(self.into)


class Json:
    """What was read and written as JSON."""

    def __init__(self) -> None:
        self.read = Counter[str]()
        self.written: list[object] = []


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Json]:
    """Counts what the decoders and the encoders are given."""
    found, read, write = Json(), json.JSONDecoder.raw_decode, json.JSONEncoder.encode
    read_fast, write_fast = orjson.loads, orjson.dumps

    def raw_decode(self: json.JSONDecoder, text: str, idx: int = 0) -> tuple[JsonValue, int]:
        found.read[text] += 1
        return read(self, text, idx)

    def encode(self: json.JSONEncoder, value: object) -> str:
        found.written.append(value)
        return write(self, value)

    def loads(text: bytes) -> JsonValue:
        found.read[text.decode()] += 1
        return read_fast(text)

    def dumps(value: object) -> bytes:
        found.written.append(value)
        return write_fast(value)

    with monkeypatch.context() as patched:
        patched.setattr(orjson, "loads", loads)
        patched.setattr(orjson, "dumps", dumps)
        patched.setattr(json.JSONDecoder, "raw_decode", raw_decode)
        patched.setattr(json.JSONEncoder, "encode", encode)
        yield found


def asked(route: Route, document: dict[str, JsonValue]) -> Call:
    """The call of a request, as `Inference` makes it."""
    call = route.call(document, json.dumps(document).encode(), None)
    assert isinstance(call, Call)
    return checked(call, SERVED)


def sent(route: Route, call: Call, answer: SyntheticAnswer, counted: Json) -> bytes:
    """What the caller gets; only what is read and written meanwhile is counted."""
    found: list[bytes] = []

    async def post(path: str, headers: Mapping[str, str], body: bytes) -> SyntheticAnswer:
        del path, headers, body
        return answer

    async def send(message: Message) -> None:
        found.append(message.get("body", b""))

    async def answered() -> None:
        builder = ExchangeBuilder(SCOPE, route, send)
        filters = Filters(Plugins(()), None, builder)
        client = EngineClient(SimpleNamespace(model=None, post=post), {}, SERVED, b'"m"', builder)
        given = await client.ask(call)
        counted.read.clear()
        counted.written.clear()
        await forward(given, call, builder, filters, StreamProcesses(0))

    asyncio.run(answered())
    return b"".join(found)


@pytest.mark.parametrize(
    ("route", "document", "words"),
    [
        (AnthropicMessages(), {**WISH, "max_tokens": 99}, WORDS),
        (OllamaChat(), WISH, WORDS),
        (ResponsesRoute(), {"model": "m", "stream": True, "store": False, "input": "Hi"}, WORDS),
        (CHAT, FORCED, CALL),
        (AnthropicMessages(), FORCED_BY_ANTHROPIC, CALL),
        (ResponsesRoute(), FORCED_BY_RESPONSES, CALL),
        (CHAT, {**WISH, "n": 2}, WORDS),
    ],
)
def test_each_event_is_read_once_and_written_once(
    counted: Json, route: Route, document: dict[str, JsonValue], words: list[str]
) -> None:
    """Where a call was put right for another dialect, each event was written and read between the two."""
    call = asked(route, document)
    answer = SyntheticAnswer(chat_stream([{"content": word} for word in words]))

    told = sent(route, call, answer, counted)

    given = [event.data.decode() for event in events(b"".join(answer.events)) if event.data != b"[DONE]"]
    assert [counted.read[event] for event in given] == [1] * len(given)
    assert all(text in given or '"choices"' not in text for text in counted.read)
    lines = told.splitlines() if route.dialect.name == "ollama" else [event.data for event in events(told)]
    assert len(counted.written) == len([line for line in lines if line != b"[DONE]"])
    if words is CALL:
        assert b"Bern" in told
        assert b'arguments\\": {' not in told


def test_what_nothing_changes_is_neither_read_nor_written(counted: Json) -> None:
    answer = SyntheticAnswer(chat_stream([{"content": word} for word in WORDS]))

    told = sent(CHAT, asked(CHAT, WISH), answer, counted)

    assert told == b"".join(answer.events)
    assert not counted.read
    assert not counted.written


def test_the_end_of_a_stream_that_was_put_right_is_passed_on(counted: Json) -> None:
    answer = SyntheticAnswer(chat_stream([{"content": part} for part in CALL]))

    told = sent(CHAT, asked(CHAT, FORCED), answer, counted)

    assert told.endswith(b"data: [DONE]\n\n")
    assert told.count(b"[DONE]") == 1
