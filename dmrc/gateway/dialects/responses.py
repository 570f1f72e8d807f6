"""OpenAI's Responses: what a response goes on from is remembered here, whoever answers it.

llama.cpp's server answers them itself; an engine that does not is asked for a chat completion.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from dmrc.capture.bodies import object_of, parse_object
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import JsonValue
from dmrc.gateway.dialects import responses_requests as requests
from dmrc.gateway.dialects.dialect import Call, Clock, OpenAI, Reply
from dmrc.gateway.dialects.passing import Passing
from dmrc.gateway.dialects.responses_replies import ResponseWords

_END = re.compile(rb"\nevent: response\.(?:completed|incomplete|failed)\n")
_LONGEST_END = 64
_KEPT = 500
_KEPT_BYTES = 16 << 20

Items = list[JsonValue]


class Conversations:
    """What was said before each of the last responses of one project, in memory; the oldest go first."""

    def __init__(self, longest: int = _KEPT, largest_bytes: int = _KEPT_BYTES) -> None:
        """Keep so many, of so many bytes in all."""
        self._longest = longest
        self._largest_bytes = largest_bytes
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._bytes = 0

    def put(self, response_id: str, items: Items, response: JsonValue) -> None:
        """Remember a response, and the conversation up to it; one that is too large alone is not."""
        text = json.dumps([items, response])
        if len(text) > self._largest_bytes:
            return
        self._bytes += len(text) - len(self._texts.pop(response_id, ""))
        self._texts[response_id] = text
        while len(self._texts) > self._longest or self._bytes > self._largest_bytes:
            self._bytes -= len(self._texts.popitem(last=False)[1])

    def get(self, response_id: str) -> Items:
        """Return a conversation up to and with a response; raises as `response` does."""
        items, response = self._find(response_id)
        return [*items, *response["output"]]

    def asked(self, response_id: str) -> Items:
        """Return the conversation up to a response; raises as `response` does."""
        return self._find(response_id)[0]

    def response(self, response_id: str) -> dict[str, JsonValue]:
        """Return a response.

        Raises:
            NotFoundError: It is not remembered.
        """
        return self._find(response_id)[1]

    def forget(self, response_id: str) -> None:
        """Remember a response no longer; raises as `response` does."""
        self._find(response_id)
        self._bytes -= len(self._texts.pop(response_id))

    def _find(self, response_id: str) -> tuple[Items, dict[str, Any]]:
        text = self._texts.get(response_id)
        if text is None:
            raise NotFoundError(
                f"response '{response_id[:80]}' is not remembered",
                remedy=f"dmrc keeps the last {self._longest} in memory; send the whole conversation as 'input'",
            )
        items, response = json.loads(text)
        return items, response


class Responses(OpenAI):
    """`POST /v1/responses`. A project goes on from its own responses; callers without one are one more project."""

    last_event = re.compile(_END.pattern + rb"[^\n]*\n\n\Z")

    def __init__(self) -> None:
        """Remember nothing yet."""
        super().__init__("responses", "response")
        self._conversations: defaultdict[str | None, Conversations] = defaultdict(Conversations)

    def conversations(self, project: str | None) -> Conversations:
        """Return what is remembered for a project."""
        return self._conversations[project]

    def call(self, document: dict[str, JsonValue], body: bytes, project: str | None) -> Call:
        """Return the request, with all that was said before: llama.cpp refuses `previous_response_id`."""
        conversations = self._conversations[project]
        items, changes = _items(document.get("input")), _response_format(document.get("text"))
        before = document.get("previous_response_id")
        if before is not None:
            items = conversations.get(str(before)) + items
            changes |= {"input": items, "previous_response_id": None}
        said: dict[str, JsonValue] = {**document, **changes}
        said = {name: value for name, value in said.items() if value is not None} if changes else document
        form = object_of(changes.get("response_format"))

        def remembered(reply: Reply) -> Reply:
            return _Remembering(conversations, items, reply) if document.get("store") is not False else reply

        def chat() -> Call:
            request = requests.chat(document, items, {"response_format": form} if form else {})
            return Call("/v1/chat/completions", request, remembered(ResponseWords(document)))

        return Call("/v1/responses", said, remembered(Passing(_END)), None if changes else body, chat)


class _Remembering:
    """A reply that is remembered when it is complete."""

    def __init__(self, conversations: Conversations, items: Items, reply: Reply) -> None:
        self._conversations = conversations
        self._items = items
        self._reply = reply
        self.stream_type = reply.stream_type

    def whole(self, status: int, body: bytes, clock: Clock) -> bytes:
        said = self._reply.whole(status, body, clock)
        if status == 200:
            self._remember(parse_object(said))
        return said

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        latest, found, is_kept = b"\n", None, False
        async for chunk in self._reply.stream(chunks, clock):
            # The event that ends a stream holds the whole response; of what comes before only the end is looked at.
            latest += chunk
            found = found or _END.search(latest)
            latest = latest if found else latest[-_LONGEST_END:]
            if found and not is_kept and b"\n\n" in (event := latest[found.end() :]):
                # Before the caller has it: it may hang up then, or go on from it at once.
                is_kept = True
                data = event.partition(b"data: ")[2].partition(b"\n")[0]
                self._remember(object_of(parse_object(data).get("response")))
            yield chunk

    def _remember(self, response: dict[str, JsonValue]) -> None:
        """Remember a response that has an id: an engine that is not llama.cpp's may answer anything."""
        response_id, output = response.get("id"), response.get("output")
        if isinstance(response_id, str) and isinstance(output, list):
            self._conversations.put(response_id, self._items, {**response})


def _response_format(text: JsonValue) -> dict[str, JsonValue]:
    """Return the form of the answer in the words of chat completions, which llama.cpp reads here too."""
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict) or form.get("type") == "text":
        return {}
    described: JsonValue = {name: value for name, value in form.items() if name != "type"}
    return {"response_format": {"type": form.get("type"), **({"json_schema": described} if described else {})}}


def _items(value: JsonValue) -> Items:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        return value
    raise InputError("'input' is neither text nor a list", remedy='Send "input": "…", as in OpenAI\'s Responses')
