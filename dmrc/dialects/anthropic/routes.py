"""Anthropic's routes, `/v1/messages` and `count_tokens`, before every engine; errors are Anthropic's, too.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from dmrc.dialects.anthropic import record, requests
from dmrc.dialects.anthropic.replies import AnthropicReply
from dmrc.dialects.chat.counts import COUNT_PATH, TokenCount
from dmrc.dialects.chat.recorded import counted
from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.dialects.dialect import AnswerReader, Call, Route
from dmrc.errors import ContextLengthError, DmrcError, InputError, ThreadError
from dmrc.exchange import JsonValue, Operation
from dmrc.fields import JsonObject

_PREFIXES = ("/anthropic/v1", "/v1", "/engines/v1")

# Source: https://docs.anthropic.com/en/api/errors
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class AnthropicDialect:
    """Anthropic's Messages."""

    name = "anthropic"
    id_headers: tuple[str, ...] = ("x-request-id", "request-id")

    def __init__(self) -> None:
        below: dict[str, Route] = {"": AnthropicMessages(self), "/count_tokens": AnthropicTokens(self)}
        self._routes = {f"{prefix}/messages{end}": route for prefix in _PREFIXES for end, route in below.items()}

    def routes(self) -> Mapping[str, Route]:
        return self._routes

    def owns(self, path: str) -> bool:
        """Return whether a path is one that only its clients ask."""
        return path.startswith("/anthropic/") or "/v1/messages" in path

    def error(self, error: DmrcError) -> dict[str, object]:
        """Return an error; clients find a prompt that is too long by its words, and shorten it."""
        kind = _TYPES.get(error.http_status, "invalid_request_error" if error.http_status < 500 else "api_error")
        message = str(error)
        if isinstance(error, ContextLengthError) and error.prompt_tokens and error.context_tokens:
            told = f"prompt is too long: {error.prompt_tokens} tokens > {error.context_tokens} maximum."
            message = f"{told} {error}"
        details = {"details": {"error_code": error.code}} if isinstance(error, ThreadError) else {}
        return {"type": "error", "error": {"type": kind, "message": message, **details}}

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error event; `message_stop` never follows it."""
        return b"\n\nevent: error\ndata: " + json.dumps(self.error(error)).encode() + b"\n\n"

    def messages(self, request: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
        """Return the messages of a request; see `Dialect`."""
        return record.messages(request)

    def reader(self, operation: Operation) -> AnswerReader:
        """Return what reads an answer; see `Dialect`."""
        return counted if operation == "count_tokens" else record.AnthropicReader().read

    def tool_arguments(self, answer: JsonObject) -> Iterator[ArgumentPlace]:
        """Yield where arguments of tool calls stand; see `Dialect`."""
        return record.tool_arguments(answer)


class AnthropicMessages:
    """`POST /v1/messages`."""

    operation: Operation = "chat"
    streams_unasked = False
    last_event = re.compile(rb"\nevent: message_stop\n[^\n]*\n\n\Z")

    def __init__(self, dialect: AnthropicDialect | None = None) -> None:
        """Serve it in the words of `dialect`."""
        self.dialect = dialect or AnthropicDialect()

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return the chat completion that says the same."""
        del body, project
        reply = AnthropicReply(document.get("model"))
        return Call("/v1/chat/completions", _chat(document), reply, of_llama_cpp=requests.of_llama_cpp(document))


class AnthropicTokens(AnthropicMessages):
    """`POST /v1/messages/count_tokens`, which generates nothing."""

    operation: Operation = "count_tokens"

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return what counts the tokens of the chat completion."""
        del body, project
        return Call(COUNT_PATH, {**_chat(document), "stream": False}, TokenCount({}))


def _chat(document: dict[str, JsonValue]) -> dict[str, JsonValue]:
    messages = document.get("messages")
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        raise InputError(
            "'messages' must be a list of messages",
            remedy='Send [{"role": "user", "content": "…"}], as Anthropic has it',
        )
    return requests.chat(document)


def _is_message(message: JsonValue) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str | list)
    )
