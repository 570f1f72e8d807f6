"""Chat completions as OpenAI's Responses.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from dmrc.dialects.chat.answers import ChatAnswer, Part, Piece
from dmrc.dialects.chat.events import ChatEvents
from dmrc.dialects.dialect import Clock
from dmrc.dialects.responses.objects import Item, new_response
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_bytes import write_json

_TEXTS = {"text": "response.output_text", "thought": "response.reasoning_text"}
_ARGUMENTS = "response.function_call_arguments"
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}

Remember = Callable[[JsonObject], None]
"""Takes in a response that is at its end."""


class ResponsesReply:
    """The reply to `/v1/responses`."""

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, request: JsonObject, remember: Remember | None) -> None:
        """Answer `request`, and let the response be remembered before its caller has all of it."""
        self._request = request
        self._remember = remember
        self._id = f"resp_{uuid.uuid4().hex}"
        self._created_at = int(time.time())
        self._answer = ChatAnswer()
        self._items: list[Item] = []
        self._sequence = 0

    def whole(self, document: JsonObject, clock: Clock) -> bytes:
        del clock
        for piece in self._answer.whole(document):
            item = next((one for one in self._items if one.part == piece.part), None) or self._begun(piece.part)
            item.add(piece)
        return write_json(self._ended())

    def stream(self, events: ChatEvents, clock: Clock) -> bytes:
        """Return the events; each item ends before the next one begins."""
        del clock
        pieces = self._answer.stream(events)
        said = b"" if self._sequence else self._opening()
        for piece in pieces:
            if not self._items or piece.part != self._items[-1].part:
                said += self._closing("completed")
                said += self._beginning(self._begun(piece.part))
            said += self._going_on(self._items[-1], piece)
        return said

    def stream_end(self, clock: Clock) -> bytes:
        """Return the end of the last item, and of the response."""
        del clock
        self._answer.check_end()
        response = self._ended()
        ending = self._closing(str(response["status"]))
        return ending + self._event(f"response.{response['status']}", response=response)

    def _opening(self) -> bytes:
        """Return the first two events: whatever has come already, they tell of the time before it."""
        response = self._response() | {"status": "in_progress", "completed_at": None}
        return b"".join(self._event(f"response.{kind}", response=response) for kind in ("created", "in_progress"))

    def _begun(self, part: Part) -> Item:
        item = Item(part, len(self._items))
        if part[0] == "call":
            item.call = self._answer.calls[part[1]]
        self._items.append(item)
        return item

    def _beginning(self, item: Item) -> bytes:
        added = self._event("response.output_item.added", output_index=item.index, item=item.empty())
        if item.part[0] == "call":
            return added
        return added + self._event("response.content_part.added", **item.where(), part=item.content())

    def _going_on(self, item: Item, piece: Piece) -> bytes:
        item.add(piece)
        if not piece.text:
            return b""
        if piece.kind == "text":
            told = piece.logprobs or []
            return self._event("response.output_text.delta", **item.where(), delta=piece.text, logprobs=told)
        name = _TEXTS.get(piece.kind, _ARGUMENTS)
        return self._event(f"{name}.delta", **item.where(), delta=piece.text)

    def _closing(self, status: str) -> bytes:
        """Return what ends the latest item, if there is one; only the last one of an answer can be cut."""
        if not self._items:
            return b""
        item = self._items[-1]
        whole = item.document(status)
        if item.part[0] == "call":
            name, arguments = whole["name"], whole["arguments"]
            done = self._event(f"{_ARGUMENTS}.done", **item.where(), name=name, arguments=arguments)
        else:
            logprobs: JsonObject = {"logprobs": item.logprobs} if item.part[0] == "text" else {}
            done = self._event(f"{_TEXTS[item.part[0]]}.done", **item.where(), text=item.text, **logprobs)
            done += self._event("response.content_part.done", **item.where(), part=item.content())
        return done + self._event("response.output_item.done", output_index=item.index, item=whole)

    def _ended(self) -> JsonObject:
        """Return the response at its end, remembered."""
        answer = self._answer
        reason = _INCOMPLETE.get(str(answer.reason))
        status = "incomplete" if reason else "completed"
        output = [item.document("completed") for item in self._items[:-1]]
        output += [item.document(status) for item in self._items[-1:]]
        ending: JsonObject = {
            "status": status,
            "completed_at": None if reason else int(time.time()),
            "incomplete_details": {"reason": reason} if reason else None,
            "output": [*output],
            "output_text": "".join(item.text for item in self._items if item.part[0] == "text"),
            "usage": self._usage(),
        }
        response = self._response() | ending
        if answer.timings:
            response["timings"] = answer.timings  # beside OpenAI's fields, where the server tells them
        if self._remember is not None:
            self._remember({name: value for name, value in response.items() if name != "timings"})
        return response

    def _response(self) -> JsonObject:
        """Return the response as it is before its first item."""
        model = self._answer.model or self._request.get("model")
        return new_response(self._request, self._id, self._created_at, model)

    def _usage(self) -> JsonObject:
        answer = self._answer
        given, made = answer.prompt_tokens, answer.completion_tokens
        return {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
            "total_tokens": given + made,
        }

    def _event(self, kind: str, **fields: JsonValue) -> bytes:
        data: JsonObject = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), write_json(data))
