"""Anthropic's routes, `/v1/messages` and `count_tokens`; errors are ours.

llama.cpp's server answers them itself; an engine that does not is asked for a chat completion.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.responses import Response

from dmrc.capture.bodies import object_of
from dmrc.errors import DmrcError, InputError, UnsupportedError
from dmrc.exchange import Dialect, JsonValue, Operation
from dmrc.gateway.answers import anthropic_error, error_document, error_response
from dmrc.gateway.dialects import anthropic_requests as requests
from dmrc.gateway.dialects.anthropic_blocks import Blocks
from dmrc.gateway.dialects.anthropic_replies import AnthropicWords
from dmrc.gateway.dialects.chat_answers import error_message, json_object
from dmrc.gateway.dialects.dialect import Call, Clock
from dmrc.gateway.dialects.passing import Passing

COUNT_TOKENS = "/count_tokens"
"""The route below `/v1/messages` that generates nothing."""

_END = re.compile(rb"\nevent: message_stop")


class AnthropicMessages:
    """`POST /v1/messages`, and what is below it."""

    name: Dialect = "anthropic"
    streams_unasked = False
    last_event = re.compile(rb"\nevent: message_stop\n[^\n]*\n\n\Z")

    def __init__(self, below: str = "") -> None:
        """Serve `/v1/messages`, or a route `below` it."""
        self._path = f"/v1/messages{below}"
        self.operation: Operation = "count_tokens" if below == COUNT_TOKENS else "chat"

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return the request as it came, where llama.cpp heeds all of it; it hangs up on messages that are none."""
        del project
        messages = document.get("messages")
        if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
            raise InputError(
                "'messages' is no list of messages",
                remedy='Send [{"role": "user", "content": "…"}], as Anthropic has it',
            )
        if self.operation == "chat" and requests.wanted_schema(document):
            return self._chat(document)  # llama.cpp's own route forgets the schema
        reply = _InOrder(_END, _in_anthropics_words)
        changed = _with_thinking_off(document)
        raw = body if changed is None else None
        return Call(self._path, changed or document, reply, raw, lambda: self._chat(document))

    def _chat(self, document: dict[str, JsonValue]) -> Call:
        if self.operation == "count_tokens":
            raise UnsupportedError(
                "the engine of this model counts no tokens", remedy="Use engine llama.cpp; an answer tells its 'usage'"
            )
        reply = AnthropicWords(document.get("model"))
        return Call("/v1/chat/completions", requests.chat(document), reply)

    def error_response(self, error: DmrcError) -> Response:
        """Return the error as Anthropic's clients read it."""
        return error_response(error, dialect=self.name)

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error event; `message_stop` never follows it."""
        return b"\n\nevent: error\ndata: " + json.dumps(error_document(error, self.name)).encode() + b"\n\n"


class _InOrder(Passing):
    """A reply whose blocks end before the next ones begin."""

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        blocks = Blocks()
        async for chunk in super().stream(chunks, clock):
            if whole := blocks.read(chunk):
                yield whole
        if rest := blocks.last():
            yield rest


def anthropic_routes() -> dict[str, AnthropicMessages]:
    """Return the dialect of each path."""
    prefixes = ("/anthropic/v1", "/v1", "/engines/v1")
    return {
        f"{prefix}/messages{below}": AnthropicMessages(below) for prefix in prefixes for below in ("", COUNT_TOKENS)
    }


def _with_thinking_off(document: dict[str, JsonValue]) -> dict[str, JsonValue] | None:
    """Return the request of a caller who wants no thoughts, in words that llama.cpp heeds; None where that is as it is.

    Source: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking
    """
    if object_of(document.get("thinking")).get("type") != "disabled":
        return None
    values = {**object_of(document.get("chat_template_kwargs")), "enable_thinking": False}
    return {**document, "chat_template_kwargs": values}


def _is_message(message: JsonValue) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str | list)
    )


def _in_anthropics_words(status: int, body: bytes) -> bytes:
    """Return an error of llama.cpp's, `{"error": {"message": "…"}}`, as one of Anthropic's."""
    document = json_object(body)
    message = error_message(document) if document else body.decode(errors="replace")
    return json.dumps(anthropic_error(status, message)).encode()
