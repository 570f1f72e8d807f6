"""Anthropic's routes, `/v1/messages` and `count_tokens`, before every engine; errors are Anthropic's, too.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json
import re

from starlette.responses import Response

from dmrc.dialects.anthropic import requests as requests
from dmrc.dialects.anthropic.replies import AnthropicWords
from dmrc.dialects.chat.counts import COUNT_PATH, TokenCount
from dmrc.dialects.dialect import Call
from dmrc.dialects.errors import error_document, error_response
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import Dialect, JsonValue, Operation

PREFIXES = ("/anthropic/v1", "/v1", "/engines/v1")
"""Where the routes are found."""


class AnthropicMessages:
    """`POST /v1/messages`."""

    name: Dialect = "anthropic"
    operation: Operation = "chat"
    streams_unasked = False
    last_event = re.compile(rb"\nevent: message_stop\n[^\n]*\n\n\Z")

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return the chat completion that says the same."""
        del body, project
        reply = AnthropicWords(document.get("model"))
        return Call("/v1/chat/completions", _chat(document), reply, of_llama_cpp=requests.of_llama_cpp(document))

    def error_response(self, error: DmrcError) -> Response:
        """Return the error as Anthropic's clients read it."""
        return error_response(error, dialect=self.name)

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error event; `message_stop` never follows it."""
        return b"\n\nevent: error\ndata: " + json.dumps(error_document(error, self.name)).encode() + b"\n\n"


class AnthropicTokens(AnthropicMessages):
    """`POST /v1/messages/count_tokens`, which generates nothing."""

    operation: Operation = "count_tokens"

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return what counts the tokens of the chat completion."""
        del body, project
        return Call(COUNT_PATH, {**_chat(document), "stream": False}, TokenCount({}))


def anthropic_routes() -> dict[str, AnthropicMessages]:
    """Return the dialect of each path."""
    below = {"": AnthropicMessages(), "/count_tokens": AnthropicTokens()}
    return {f"{prefix}/messages{end}": dialect for prefix in PREFIXES for end, dialect in below.items()}


def _chat(document: dict[str, JsonValue]) -> dict[str, JsonValue]:
    messages = document.get("messages")
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        raise InputError(
            "'messages' is no list of messages",
            remedy='Send [{"role": "user", "content": "…"}], as Anthropic has it',
        )
    return requests.chat(document)


def _is_message(message: JsonValue) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str | list)
    )
