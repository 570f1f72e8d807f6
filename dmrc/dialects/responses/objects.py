"""A response and its items, as OpenAI's clients read them.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

import uuid

from dmrc.dialects.chat.answers import Part, PartialToolCall, Piece
from dmrc.exchange import JsonValue
from dmrc.fields import JsonObject
from dmrc.json_values import object_of

# What a response tells of its request, and what it tells where the request does not say; clients expect each of them.
_ECHOED: JsonObject = {
    **dict.fromkeys(("instructions", "previous_response_id", "temperature", "top_p", "max_output_tokens")),
    **dict.fromkeys(("max_tool_calls", "user", "safety_identifier", "prompt_cache_key", "service_tier")),
    "parallel_tool_calls": True,
    "store": True,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "truncation": "disabled",
    "text": {"format": {"type": "text"}},
    "metadata": {},
}
_PREFIXES = {"text": "msg", "thought": "rs", "call": "fc"}


def new_response(request: JsonObject, response_id: str, created_at: int, model: JsonValue) -> JsonObject:
    """Return the response to a request before anything is said; `created_at` is in Unix seconds."""
    thinking = object_of(request.get("reasoning"))
    reasoning: JsonObject = {"effort": thinking.get("effort"), "summary": thinking.get("summary")}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "output_text": "",
        "reasoning": reasoning,
        # Docker Model Runner tells it here too.
        "reasoning_effort": reasoning["effort"],
        **{name: default if (told := request.get(name)) is None else told for name, default in _ECHOED.items()},
        "usage": None,
    }


class Item:
    """One item of the output, while it is said and then."""

    def __init__(self, part: Part, index: int) -> None:
        """Say `part`, as number `index` of the output."""
        self.part = part
        self.index = index
        self.id = f"{_PREFIXES[part[0]]}_{uuid.uuid4().hex}"
        self.text = ""
        self.logprobs: list[JsonValue] = []
        self.call: PartialToolCall | None = None
        """Which tool is called, where this is a call."""

    def add(self, piece: Piece) -> None:
        """Take in the next piece."""
        self.text += piece.text
        if isinstance(piece.logprobs, list):
            self.logprobs += piece.logprobs

    def where(self) -> JsonObject:
        """Return what an event says of its place."""
        place: JsonObject = {"item_id": self.id, "output_index": self.index}
        return place if self.part[0] == "call" else place | {"content_index": 0}

    def empty(self) -> JsonObject:
        """Return the item before anything of it is said."""
        nothing: JsonObject = {} if self.call else {"content": []}
        return self.document("in_progress") | nothing

    def document(self, status: str) -> JsonObject:
        """Return the item as far as it is said."""
        if self.call is not None:
            said: JsonObject = {"call_id": self.call.id, "name": self.call.name, "arguments": self.text}
            return {"type": "function_call", "id": self.id, "status": status, **said}
        content: JsonValue = [self.content()]
        if self.part[0] == "thought":
            return {"type": "reasoning", "id": self.id, "status": status, "summary": [], "content": content}
        return {"type": "message", "id": self.id, "status": status, "role": "assistant", "content": content}

    def content(self) -> JsonObject:
        """Return the one part of its content."""
        if self.part[0] == "thought":
            return {"type": "reasoning_text", "text": self.text}
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": [*self.logprobs]}
