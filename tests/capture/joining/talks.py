"""Exchanges of conversations, as clients of each dialect have them."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.joining.evidence import evidence_of
from dmrc.capture.joining.local_memory import ConversationMemory
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.writing import ReadExchange
from dmrc.exchange import Exchange

_JSON = {"content-type": "application/json"}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def called(call_id: str, name: str = "find", **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


@dataclass
class Talks:
    """Makes exchanges, each a second after the one before, and joins them in both memories, which must agree."""

    path: Path
    now: float = field(default_factory=time.time)
    _numbers: itertools.count = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.database = ExchangeDatabase(self.path)
        self.local = ConversationMemory()

    def id(self) -> str:
        """Return a new id, of the present time."""
        milliseconds = f"{int(self.now * 1000):012x}"
        return f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{next(self._numbers):012x}"

    def exchange(self, request: dict[str, Any], answer: dict[str, Any] | str, **changes: Any) -> Exchange:
        """Return an exchange of the present moment; its answer is a whole body, or the words of chat completions."""
        message = said(answer) if isinstance(answer, str) else answer
        body = {"choices": [{"index": 0, "message": message}]} if "role" in message else message
        values: dict[str, Any] = {
            "id": self.id(), "method": "POST", "path": "/v1/chat/completions", "operation": "chat", "status": 200,
            "project": "shop", "service": "web", "received_at": self.now, "total_ms": 500.0,
            "request_body": json.dumps(request).encode(), "response_body": json.dumps(body).encode(),
            "response_headers": _JSON,
        }  # fmt: skip
        self.now += 1
        return Exchange(**(values | changes))

    def join(self, exchange: Exchange) -> str | None:
        """Record an exchange, and return its conversation."""
        self.database.insert_read([ReadExchange(exchange, None, evidence_of(exchange))])
        found = self.database.get(exchange.id).conversation_id
        told = self.local.join(exchange)
        assert (told and told.conversation_id) == found
        return found

    def chat(self, messages: list[dict[str, Any]], answer: dict[str, Any] | str, **changes: Any) -> str | None:
        """Record a chat, and return its conversation."""
        return self.join(self.exchange({"messages": messages}, answer, **changes))

    def conversations(self) -> dict[str, str | None]:
        """Return the conversation of each exchange, as it is recorded now."""
        return {one.id: one.conversation_id for one in self.database.page(ExchangeFilter(), 10_000)}
