"""Exchanges with the bodies in `bodies/`, recorded from llama.cpp (xllamacpp 2026.10) with SmolLM2-135M."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter
from dmrc.capture.recorder import Recorder
from dmrc.exchange import Exchange, Operation, new_exchange_id

ALL = ExchangeFilter()
BODIES = Path(__file__).parent / "bodies"
JSON = {"content-type": "application/json; charset=utf-8"}
SSE = {"content-type": "text/event-stream"}


def recorded(name: str, **changes) -> Exchange:
    operation: Operation = "embedding" if name.startswith("embed") else "chat"
    exchange = Exchange(
        id=new_exchange_id(),
        method="POST",
        path="/v1/chat/completions",
        operation=operation,
        received_at=1_700_000_000.0,
        status=400 if name.startswith("error") else 200,
        response_headers=SSE if name.endswith(".sse") else JSON,
        response_body=(BODIES / name).read_bytes(),
    )
    return replace(exchange, **changes)


def asked(text: str, **changes) -> Exchange:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    return recorded("chat.json", request_body=body, **changes)


def many(count: int, **changes) -> list[Exchange]:
    return [recorded("chat.json", id=f"0190aaaa-0000-7000-8000-{number:012x}", **changes) for number in range(count)]


@contextmanager
def recording(path, limits=None, **options):
    recorder = Recorder(ExchangeDatabase(path, **options), limits)
    try:
        yield recorder
    finally:
        recorder.close(timeout=0.2)
