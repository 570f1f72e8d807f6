"""Conversations to plant in a record: each request with its answer, in the words of chat completions."""

from __future__ import annotations

import json
from typing import Any

from dmrc.exchange import Exchange, id_at

JSON = {"content-type": "application/json"}
Document = dict[str, Any]


def user(text: str) -> Document:
    return {"role": "user", "content": text}


def system(text: str) -> Document:
    return {"role": "system", "content": text}


def assistant(text: str | None, *calls: Document) -> Document:
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}


def call(id: str, name: str, **arguments: object) -> Document:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def result(id: str, text: str) -> Document:
    return {"role": "tool", "tool_call_id": id, "content": text}


def exchange(number: int, at: float, asked: list[Document], answer: Document | None, **changes: object) -> Exchange:
    """Return a request that came in at this Unix second, and its answer; None: an error."""
    request = {"model": "llm", "messages": asked}
    body = {"choices": [{"index": 0, "message": answer, "finish_reason": "stop"}]} if answer is not None else {}
    fields: dict[str, Any] = {
        "id": f"{id_at(at)}-7000-8000-{number:012x}",
        "project": "shop",
        "service": "web",
        "method": "POST",
        "path": "/engines/v1/chat/completions",
        "operation": "chat",
        "model_requested": "llm",
        "model_key": "llm",
        "received_at": at,
        "queue_ms": 0.0,
        "load_ms": 0.0,
        "first_token_ms": 100.0,
        "total_ms": 500.0,
        "status": 200,
        "prompt_tokens": 40,
        "completion_tokens": 12,
        "request_headers": JSON,
        "request_body": json.dumps(request).encode(),
        "response_headers": JSON,
        "response_body": json.dumps(body).encode(),
    }
    return Exchange(**{**fields, **changes})


def agent(at: float = 1_700_000_000.0, first: int = 1) -> list[Exchange]:
    """Return a planner with a tool, a writer of another service with another model, and a request that failed."""
    rules, question = system("Use tools."), user("Is it warm in Oslo?")
    called = assistant(None, call("call_1", "weather", city="Oslo"))
    brought = result("call_1", '{"degrees": -3}')
    told = assistant("No: -3 °C.")
    id = exchange(first, at, [], None).id
    of = {"conversation_id": id}
    writer = {"service": "writer", "model_key": "big", "model_requested": "big"}
    return [
        exchange(first, at, [rules, question], called, finish_reason="tool_calls", **of),
        exchange(first + 1, at + 0.8, [rules, question, called, brought], told, **of),
        exchange(first + 2, at + 1.4, [system("Write."), user("Say it nicely: No: -3 °C.")], None, status=503,
                 error_type="server_error", error_message="the engine ended", prompt_tokens=None, first_token_ms=None,
                 completion_tokens=None, total_ms=100.0, **writer, **of),
        exchange(first + 3, at + 600, [system("Write."), user("Say it nicely: No: -3 °C.")],
                 assistant("It is a crisp -3 °C."), total_ms=1500.0, **writer, **of),
    ]  # fmt: skip
