"""Chat completions as OpenAI's Responses, for engines that know nothing else.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator

from dmrc.exchange import JsonValue
from dmrc.gateway.dialects.chat_answers import ChatAnswer, Document, Part, Piece, joined
from dmrc.gateway.dialects.dialect import Clock

# What a response tells of the request; the SDKs expect each of them.
_ECHOED: Document = {
    **dict.fromkeys(("instructions", "previous_response_id", "temperature", "top_p", "max_output_tokens")),
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "metadata": {},
}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_PREFIXES = {"text": "msg", "thought": "rs", "call": "fc"}
_TEXTS = {"text": "response.output_text", "thought": "response.reasoning_text"}
_ARGUMENTS = "response.function_call_arguments"


class ResponseWords:
    """The reply to `/v1/responses`."""

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, request: Document) -> None:
        """Answer `request`."""
        self._request = request
        self._id = f"resp_{uuid.uuid4().hex}"
        self._created_at = int(time.time())
        self._answer = ChatAnswer()
        self._output: list[Document] = []
        self._sequence = 0

    def whole(self, status: int, body: bytes, clock: Clock) -> bytes:
        """Return the response; an error is OpenAI's already."""
        del clock
        if status >= 400:
            return body
        self._output = [
            self._item(part, _new_id(part), text) for part, text in joined(self._answer.whole(body)).items()
        ]
        return json.dumps(self._response()).encode()

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        """Yield the events; each item ends before the next one begins."""
        del clock
        item: _Item | None = None
        async for pieces in self._answer.stream(chunks):
            events = b"" if self._sequence else self._opening()
            for piece in pieces:
                if item is None or piece.part != item.part:
                    events += self._closing(item) if item else b""
                    item = _Item(piece.part, len(self._output))
                    events += self._beginning(item)
                events += self._going_on(item, piece)
            if events:
                yield events
        events = b"" if self._sequence else self._opening()
        events += self._closing(item) if item else b""
        response = self._response()
        yield events + self._event(f"response.{response['status']}", response=response)

    def _opening(self) -> bytes:
        response = self._response() | {"status": "in_progress"}
        return b"".join(self._event(f"response.{kind}", response=response) for kind in ("created", "in_progress"))

    def _beginning(self, item: _Item) -> bytes:
        empty = self._item(item.part, item.id, "", "in_progress")
        nothing: Document = {"content": []} if "content" in empty else {}
        added = self._event("response.output_item.added", output_index=item.index, item=empty | nothing)
        if item.part[0] == "call":
            return added
        return added + self._event("response.content_part.added", **item.where(), part=_part(item.part, ""))

    def _going_on(self, item: _Item, piece: Piece) -> bytes:
        item.text += piece.text
        if not piece.text:
            return b""
        if piece.kind == "text":
            return self._event("response.output_text.delta", **item.where(), delta=piece.text, logprobs=[])
        name = _TEXTS.get(piece.kind, _ARGUMENTS)
        return self._event(f"{name}.delta", **item.where(), delta=piece.text)

    def _closing(self, item: _Item) -> bytes:
        whole = self._item(item.part, item.id, item.text)
        self._output.append(whole)
        if item.part[0] == "call":
            name, arguments = whole["name"], whole["arguments"]
            done = self._event(f"{_ARGUMENTS}.done", **item.where(), name=name, arguments=arguments)
        else:
            done = self._event(f"{_TEXTS[item.part[0]]}.done", **item.where(), text=item.text)
            done += self._event("response.content_part.done", **item.where(), part=_part(item.part, item.text))
        return done + self._event("response.output_item.done", output_index=item.index, item=whole)

    def _item(self, part: Part, item_id: str, text: str, status: str = "completed") -> Document:
        kind, number = part
        if kind == "call":
            call = self._answer.calls[number]
            said: Document = {"call_id": call.id, "name": call.name, "arguments": text}
            return {"type": "function_call", "id": item_id, "status": status, **said}
        content: JsonValue = [_part(part, text)]
        if kind == "thought":
            return {"type": "reasoning", "id": item_id, "status": status, "summary": [], "content": content}
        return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": content}

    def _response(self) -> Document:
        answer, request = self._answer, self._request
        reason = _INCOMPLETE.get(str(answer.reason))
        cached, given, made = answer.cached_tokens, answer.prompt_tokens, answer.completion_tokens
        usage: Document = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        }
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "error": None,
            "model": answer.model or request.get("model"),
            "output": [*self._output],
            "text": request.get("text") or {"format": {"type": "text"}},
            **{name: default if (told := request.get(name)) is None else told for name, default in _ECHOED.items()},
            "usage": usage if answer.reason else None,
        }

    def _event(self, kind: str, **fields: object) -> bytes:
        data = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


class _Item:
    """One item of the output while it is told."""

    def __init__(self, part: Part, index: int) -> None:
        self.part = part
        self.index = index
        self.id = _new_id(part)
        self.text = ""

    def where(self) -> Document:
        """Return what an event says of its place."""
        place: Document = {"item_id": self.id, "output_index": self.index}
        return place if self.part[0] == "call" else place | {"content_index": 0}


def _new_id(part: Part) -> str:
    return f"{_PREFIXES[part[0]]}_{uuid.uuid4().hex}"


def _part(part: Part, text: str) -> Document:
    if part[0] == "thought":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
