"""OpenAI's Responses, before every engine: what a response goes on from is remembered here.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import json
import re
from collections import defaultdict

from dmrc.dialects.chat.counts import COUNT_PATH, TokenCount
from dmrc.dialects.dialect import Call, OpenAI
from dmrc.dialects.errors import error_document
from dmrc.dialects.responses import requests as requests
from dmrc.dialects.responses.conversations import Conversations, Items
from dmrc.dialects.responses.replies import ResponseWords
from dmrc.errors import DmrcError, InputError
from dmrc.exchange import JsonValue, Operation

Document = dict[str, JsonValue]


class Responses(OpenAI):
    """`POST /v1/responses`. A project goes on from its own responses; callers without one are one more project."""

    last_event = re.compile(rb"\nevent: response\.(?:completed|incomplete|failed)\n[^\n]*\n\n\Z")

    def __init__(self) -> None:
        """Remember nothing yet."""
        super().__init__("responses", "response")
        self._conversations: defaultdict[str | None, Conversations] = defaultdict(Conversations)

    def conversations(self, project: str | None) -> Conversations:
        """Return what is remembered for a project."""
        return self._conversations[project]

    def call(self, document: Document, body: bytes, project: str | None) -> Call:
        """Return the chat completion that says the same, with all that was said before."""
        del body
        conversations = self._conversations[project]
        items = _items(document, conversations)
        chat = requests.chat(document, items)

        def remember(response: Document) -> None:
            conversations.put(str(response["id"]), items, response)

        is_kept = document.get("store") is not False
        tools = document.get("tools")
        told = {**document, "tools": requests.used(tools)}
        reply = ResponseWords(told, remember if is_kept else None)
        return Call("/v1/chat/completions", chat, reply, left_out=requests.unused(tools))

    def last_words(self, error: DmrcError) -> bytes:
        """Return an error event, in the form of the Responses and in that of OpenAI's other streams."""
        document = error_document(error)
        told = {"type": "error", "code": error.code or error.error_type, "message": str(error), "param": None}
        return b"\n\nevent: error\ndata: " + json.dumps({**told, **document}).encode() + b"\n\n"


class ResponseTokens(OpenAI):
    """`POST /v1/responses/input_tokens`, which generates nothing."""

    operation: Operation = "count_tokens"

    def __init__(self, responses: Responses) -> None:
        """Count what `responses` would ask."""
        super().__init__("responses/input_tokens", "count_tokens")
        self._responses = responses

    def call(self, document: Document, body: bytes, project: str | None) -> Call:
        """Return what counts the tokens of the chat completion."""
        del body
        items = _items(document, self._responses.conversations(project))
        chat = {**requests.chat(document, items), "stream": False}
        return Call(COUNT_PATH, chat, TokenCount({"object": "response.input_tokens"}))


def _items(document: Document, conversations: Conversations) -> Items:
    """Return the input, with all that was said before; items that it only names are those that are remembered."""
    requests.check(document)
    value, before = document.get("input"), document.get("previous_response_id")
    items: Items
    if isinstance(value, str):
        items = [{"role": "user", "content": value}]
    elif isinstance(value, list):
        items = [_meant(item, conversations) for item in value]
    else:
        raise InputError("'input' is neither text nor a list", remedy='Send "input": "…", as in OpenAI\'s Responses')
    return items if before is None else conversations.get(str(before)) + items


def _meant(item: JsonValue, conversations: Conversations) -> JsonValue:
    if not isinstance(item, dict):
        raise InputError("an item of 'input' is no object", remedy='Send {"role": "user", "content": "…"}')
    is_name = item.get("type") == "item_reference" or (item.get("type") is None and "role" not in item)
    if not is_name:
        return item
    if not isinstance(name := item.get("id"), str):
        raise InputError("an item of 'input' has neither 'role' nor 'id'", remedy='Send {"role": …, "content": …}')
    return conversations.item(name)
