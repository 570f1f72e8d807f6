"""Exchanges with known answers, for what compares them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from dmrc.capture.reading import complete
from dmrc.comparison.answers import Said
from dmrc.comparison.sendable import Sendable, sendable
from dmrc.exchange import Exchange, new_exchange_id


def exchange(text: str | None = "Blue.", *, calls: Any = None, finish: str = "stop", **changes: Any) -> Exchange:
    """A chat of OpenAI's with its answer; `calls` are names with arguments."""
    message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(calls)
        ]
    tokens = changes.pop("tokens", 10)
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 5, "completion_tokens": tokens},
    }
    request = {"model": "llm", "messages": [{"role": "user", "content": "Which colour?"}], **changes.pop("request", {})}
    return complete(
        replace(
            Exchange(
                id=new_exchange_id(),
                method="POST",
                path="/engines/v1/chat/completions",
                operation="chat",
                project="shop",
                service="api",
                model_key="llm",
                model_reference="docker.io/ai/smollm2:latest",
                received_at=1_700_000_000.0,
                queue_ms=0.0,
                load_ms=1.0,
                total_ms=400.0,
                status=200,
                response_headers={"content-type": "application/json"},
                request_body=json.dumps(request).encode(),
                response_body=json.dumps(answer).encode(),
            ),
            **changes,
        )
    )


def said(*arguments: Any, **more: Any) -> Said:
    return Said.of(exchange(*arguments, **more))


def sent(then: Exchange) -> Sendable:
    found = sendable(then)
    assert isinstance(found, Sendable), found
    return found
