"""OpenAI's Responses: llama.cpp's server answers them itself; what a response goes on from is remembered here.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator

from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.dialect import Call, Clock, OpenAI
from dmrc.gateway.passing import Passing

_LAST_EVENT = b"event: response.completed"
_KEPT = 500
_KEPT_BYTES = 32 << 20

Items = list[JsonValue]


class Conversations:
    """What was said before each of the last responses, in memory; the oldest go first. Safe for threads.

    An id has 32 random letters, so whoever names one has been given it.
    """

    def __init__(self, longest: int = _KEPT, largest_bytes: int = _KEPT_BYTES) -> None:
        """Keep so many, of so many bytes in all."""
        self._longest = longest
        self._largest_bytes = largest_bytes
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0

    def put(self, response_id: str, items: Items) -> None:
        """Remember a conversation up to and with a response."""
        text = json.dumps(items)
        with self._lock:
            self._bytes += len(text) - len(self._texts.pop(response_id, ""))
            self._texts[response_id] = text
            while len(self._texts) > self._longest or self._bytes > self._largest_bytes:
                self._bytes -= len(self._texts.popitem(last=False)[1])

    def get(self, response_id: str) -> Items:
        """Return a conversation.

        Raises:
            NotFoundError: It is not remembered.
        """
        with self._lock:
            text = self._texts.get(response_id)
        if text is None:
            raise NotFoundError(
                f"response '{response_id[:80]}' is not remembered",
                remedy=f"dmrc keeps the last {self._longest} in memory; send the whole conversation as 'input'",
            )
        items: Items = json.loads(text)
        return items


class Responses(OpenAI):
    """`POST /v1/responses`."""

    def __init__(self, conversations: Conversations) -> None:
        """Go on from `conversations`."""
        super().__init__("responses", "response")
        self._conversations = conversations

    def call(self, document: dict[str, JsonValue], body: bytes) -> Call:
        """Return the request, with all that was said before: llama.cpp refuses `previous_response_id`."""
        items, changes = _items(document.get("input")), _response_format(document.get("text"))
        before = document.get("previous_response_id")
        if before is not None:
            items = self._conversations.get(str(before)) + items
            changes |= {"input": items, "previous_response_id": None}
        if changes:
            said = {**document, **changes}
            body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
        is_kept = document.get("store") is not False
        return Call(
            "/v1/responses", body, _Remembering(self._conversations, items) if is_kept else Passing(_LAST_EVENT)
        )


class _Remembering(Passing):
    """A reply that is remembered when it is complete."""

    def __init__(self, conversations: Conversations, items: Items) -> None:
        super().__init__(_LAST_EVENT)
        self._conversations = conversations
        self._items = items

    def whole(self, status: int, body: bytes, clock: Clock) -> bytes:
        if status == 200:
            self._remember(json.loads(body))
        return super().whole(status, body, clock)

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        last = b""
        async for chunk in super().stream(chunks, clock):
            # The event that ends a stream holds the whole response; of what comes before only the end is looked at.
            last += chunk
            start = last.rfind(_LAST_EVENT)
            last = last[start:] if start >= 0 else last[-len(_LAST_EVENT) :]
            yield chunk
        data = last.partition(b"data: ")[2].partition(b"\n")[0]
        self._remember(json.loads(data)["response"])

    def _remember(self, response: dict[str, JsonValue]) -> None:
        output = response.get("output")
        self._conversations.put(str(response["id"]), [*self._items, *(output if isinstance(output, list) else [])])


def _response_format(text: JsonValue) -> dict[str, JsonValue]:
    """Return the form of the answer in the words of chat completions, which llama.cpp reads here too."""
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict) or form.get("type") == "text":
        return {}
    described: JsonValue = {name: value for name, value in form.items() if name != "type"}
    return {"response_format": {"type": form.get("type"), "json_schema": described}}


def _items(value: JsonValue) -> Items:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        return value
    raise InputError("'input' is neither text nor a list", remedy='Send "input": "…", as in OpenAI\'s Responses')
