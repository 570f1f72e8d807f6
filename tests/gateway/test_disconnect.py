"""Who hangs up before the end of a stream has cancelled it, and who hangs up after its last event has not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.types import Message

from dmrc.dialects.anthropic.routes import AnthropicMessages
from dmrc.dialects.dialect import Route
from dmrc.dialects.ollama.routes import OllamaChat
from dmrc.dialects.openai.routes import OpenAIRoute
from dmrc.dialects.responses.routes import ResponsesRoute
from dmrc.gateway.inference.exchange_builder import ExchangeBuilder
from dmrc.gateway.inference.inference import _can_be_cancelled
from dmrc.gateway.server.request_bodies import ClientDisconnected

SCOPE = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "client": ("127.0.0.1", 1)}
CHAT = OpenAIRoute("chat/completions", "chat")


async def streamed(*chunks: bytes, dialect: Route = CHAT) -> ExchangeBuilder:
    """Stream to a caller who hangs up before the engine has ended its stream, which takes a moment longer."""

    async def send(_message: Message) -> None:
        pass

    called: list[Callable[[], None] | None] = []
    builder = ExchangeBuilder(SCOPE, dialect, send)
    with _can_be_cancelled({**SCOPE, "extensions": {"dmrc.hang_ups": called.append}}, builder):
        await builder.start(200, "text/event-stream", None)
        for chunk in chunks:
            await builder.send(chunk, more=True)
        assert called[0] is not None
        called[0]()
        await asyncio.sleep(0.05)
        await builder.send(b"", more=False)
    return builder


@pytest.mark.parametrize("chunks", [(b"data: {}\n\ndata: [DONE]\n\n",), (b"data: {}\n\n", b"data: [DO", b"NE]\n\n")])
def test_after_done_the_answer_is_complete(chunks: tuple[bytes, ...]) -> None:
    builder = asyncio.run(streamed(*chunks))

    assert builder.is_complete
    assert not builder.client_disconnected


@pytest.mark.parametrize(
    ("dialect", "end"),
    [
        (AnthropicMessages(), b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
        (ResponsesRoute(), b'event: response.completed\ndata: {"type": "response.completed", "response": {}}\n\n'),
        (OllamaChat(), b'{"model":"m","done":true,"done_reason":"stop"}\n'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_dialect_has_a_last_event(dialect: Route, end: bytes) -> None:
    for cut in (0, 9):
        builder = asyncio.run(streamed(b"before: {}\n\n", end[:cut], end[cut:], dialect=dialect))
        assert not builder.client_disconnected
    for early in (end[:-9], end + b"event: error\ndata: {}\n\n"):
        with pytest.raises(ClientDisconnected):
            asyncio.run(streamed(b"before: {}\n\n", early, dialect=dialect))


@pytest.mark.parametrize("chunk", [b"data: {}\n\n", b'data: {"content": "data: [DONE]"}\n\n'])
def test_before_done_it_is_cancelled(chunk: bytes) -> None:
    with pytest.raises(ClientDisconnected):
        asyncio.run(streamed(chunk))
