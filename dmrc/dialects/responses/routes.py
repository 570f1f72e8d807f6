"""OpenAI's Responses, before every engine: what a response goes on from is remembered here.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from dmrc.dialects.chat.counts import COUNT_PATH, TokenCount
from dmrc.dialects.chat.recorded import counted
from dmrc.dialects.chat.tool_arguments import ArgumentPlace
from dmrc.dialects.dialect import AnswerReader, Call, Route
from dmrc.dialects.openai.routes import OpenAIDialect
from dmrc.dialects.responses import record, requests
from dmrc.dialects.responses.conversations import Conversations, Items
from dmrc.dialects.responses.replies import ResponsesReply
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import JsonValue, Operation
from dmrc.fields import JsonObject

PATHS = ("/responses", "/engines/responses", "{v1}/responses")
"""Where responses are asked for; see `Dialect.routes`."""


class ResponsesDialect(OpenAIDialect):
    """A project goes on from its own responses; callers without one are one more project."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._conversations: dict[str | None, Conversations] = {}
        below: dict[str, Route] = {"": ResponsesRoute(self), "/input_tokens": ResponseTokens(self)}
        self._routes = {f"{path}{end}": route for path in PATHS for end, route in below.items()}

    def conversations(self, project: str | None) -> Conversations:
        """Return what is remembered for a project."""
        return self._conversations.setdefault(project, Conversations())  # a long request is read in a thread

    def owns(self, path: str) -> bool:
        """Return whether a path is below that of a response."""
        return path.endswith("/responses") or "/responses/" in path

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error event, in the form of the Responses and in that of OpenAI's other streams."""
        told = {"type": "error", "code": error.code or error.error_type, "message": str(error), "param": None}
        return b"\n\nevent: error\ndata: " + json.dumps({**told, **self.error(error)}).encode() + b"\n\n"

    def messages(self, request: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
        """Return the messages of a request; see `Dialect`."""
        return record.messages(request)

    def reader(self, operation: Operation) -> AnswerReader:
        """Return what reads an answer; see `Dialect`."""
        return counted if operation == "count_tokens" else record.ResponsesReader().read

    def tool_arguments(self, answer: JsonObject) -> Iterator[ArgumentPlace]:
        """Yield where arguments of tool calls stand; see `Dialect`."""
        return record.tool_arguments(answer)


class ResponsesRoute:
    """`POST /v1/responses`."""

    operation: Operation = "response"
    streams_unasked = False
    last_event = re.compile(rb"\nevent: response\.(?:completed|incomplete|failed)\n[^\n]*\n\n\Z")

    def __init__(self, dialect: ResponsesDialect | None = None) -> None:
        """Go on from what `dialect` remembers."""
        self.dialect = dialect or ResponsesDialect()

    def call(self, document: JsonObject, body: bytes, project: str | None) -> Call:
        """Return the chat completion that says the same, with all that was said before."""
        del body
        conversations = self.dialect.conversations(project)
        items = _items(document, conversations)
        chat = requests.chat(document, items)

        def remember(response: JsonObject) -> None:
            conversations.put(str(response["id"]), items, response)

        is_kept = document.get("store") is not False
        tools = document.get("tools")
        told = {**document, "tools": requests.used(tools)}
        reply = ResponsesReply(told, remember if is_kept else None)
        return Call("/v1/chat/completions", chat, reply, left_out=requests.unused(tools))


class ResponseTokens(ResponsesRoute):
    """`POST /v1/responses/input_tokens`, which generates nothing."""

    operation: Operation = "count_tokens"

    def call(self, document: JsonObject, body: bytes, project: str | None) -> Call:
        """Return what counts the tokens of the chat completion."""
        del body
        items = _items(document, self.dialect.conversations(project))
        chat = {**requests.chat(document, items), "stream": False}
        return Call(COUNT_PATH, chat, TokenCount({"object": "response.input_tokens"}))


def _items(document: JsonObject, conversations: Conversations) -> Items:
    """Return the input, with all that was said before; items that it only names are those that are remembered."""
    requests.check(document)
    value, before = document.get("input"), document.get("previous_response_id")
    items: Items
    if isinstance(value, str):
        items = [{"role": "user", "content": value}]
    elif isinstance(value, list):
        items = [_meant(item, conversations) for item in value]
    else:
        raise InputError("'input' must be text or a list", remedy='Send "input": "…", as in OpenAI\'s Responses')
    return items if before is None else conversations.get(str(before)) + items


def _meant(item: JsonValue, conversations: Conversations) -> JsonValue:
    if not isinstance(item, dict):
        raise InputError("an item of 'input' must be an object", remedy='Send {"role": "user", "content": "…"}')
    is_name = item.get("type") == "item_reference" or (item.get("type") is None and "role" not in item)
    if not is_name:
        return item
    if not isinstance(name := item.get("id"), str):
        raise InputError("an item of 'input' has neither 'role' nor 'id'", remedy='Send {"role": …, "content": …}')
    return conversations.item(name)
