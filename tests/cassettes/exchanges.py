"""Exchanges as the recorder has them when they are masked, to be recorded."""

import json
from dataclasses import replace

from dmrc.exchange import Exchange, new_exchange_id

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
WHOLE = {"content-type": "application/json"}


def chat(text: str, *, stream: bool = False, **more: object) -> dict:
    return {"model": "ai/smollm2", "stream": stream, "messages": [{"role": "user", "content": text}], **more}


def chunk(delta: dict, finish: str | None = None, **more: object) -> bytes:
    document = {
        "choices": [{"finish_reason": finish, "index": 0, "delta": delta}],
        "created": 1,
        "id": "chatcmpl-1",
        "model": "ai/smollm2",
        "object": "chat.completion.chunk",
        **more,
    }
    return b"data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def streamed(words: list[str]) -> list[bytes]:
    begin = chunk({"role": "assistant", "content": None})
    return [begin, *(chunk({"content": word}) for word in words), chunk({}, "stop"), b"data: [DONE]\n\n"]


def whole(text: str, **more: object) -> list[bytes]:
    document = {
        "choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": text}}],
        "created": 1,
        "id": "chatcmpl-1",
        "model": "ai/smollm2",
        "object": "chat.completion",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **more,
    }
    return [json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()]


def exchange(request: dict, pieces: list[bytes], *, gap_ms: float = 10.0, **fields: object) -> Exchange:
    offsets, start, at = [], 0, 100.0
    for piece in pieces:
        offsets.append((at, start))
        start, at = start + len(piece), at + gap_ms
    is_stream = bool(fields.pop("stream", request.get("stream")))
    made = Exchange(
        id=new_exchange_id(),
        project="shop",
        service="api",
        method="POST",
        path="/engines/v1/chat/completions",
        operation="chat",
        model_requested="ai/smollm2",
        model_key="llm",
        model_reference="docker.io/ai/smollm2:latest",
        stream=is_stream,
        received_at=1.0,
        load_ms=20.0,
        queue_ms=30.0,
        total_ms=at,
        status=200,
        request_body=json.dumps(request).encode(),
        response_headers=STREAM if is_stream else WHOLE,
        response_body=b"".join(pieces),
        chunk_offsets=tuple(offsets),
    )
    return replace(made, **fields)
