"""Requests that the page of one request must show: of each dialect, with pictures, long, masked, with a cache lens."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from dmrc.capture.database import ExchangeDatabase
from dmrc.exchange import FAULT, Exchange, JsonValue, id_at
from dmrc.settings import Settings

LONG = "The parties agree on what the annex says of deliveries. " * 308
RULES = " ".join(f"Rule {number}: be kind to everybody." for number in range(60))
SCHEMA: JsonValue = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def png(width: int, height: int) -> bytes:
    """Return a blue picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x3b\x4f\xd4" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE, PAGE = png(64, 48), b"<html><script>document.title='owned'</script></html>"


def plant_kinds(home: Path) -> dict[str, str]:
    """Add them to the record of a dmrc, and return their ids by their names."""
    database = ExchangeDatabase(Settings.from_environment({"DMRC_HOME": str(home)}).paths.exchanges)
    made = _kinds()
    database.insert_many(made.values())
    database.close()
    return {name: one.id for name, one in made.items()}


def _kinds() -> dict[str, Exchange]:
    requests: dict[str, dict[str, JsonValue]] = {
        "oldest": {"messages": [{"role": "user", "content": "The oldest"}]},
        "clock_before": _clocked(3),
        "clock": _clocked(4),
        "long": {
            "messages": [
                {"role": "system", "content": LONG},
                {"role": "user", "content": "Who pays?"},
            ],
            "seed": 12345678901234567890,
        },
        "pictures": {"messages": [{"role": "user", "content": [_picture(PICTURE), _picture(PAGE)]}]},
        "anthropic": {
            "system": "You are brief.",
            "messages": [{"role": "user", "content": "Is it cold?"}],
            "max_tokens": 300,
            "top_p": 0.9,
            "stop_sequences": ["END"],
            "tools": [{"name": "weather", "description": "Tells the weather of a city.", "input_schema": SCHEMA}],
        },
        "ollama": {"prompt": "Why?", "options": {"temperature": 0.5, "num_predict": 64, "num_ctx": 2048}},
        "response": {
            "input": "Name a colour.",
            "max_output_tokens": 32,
            "text": {"format": {"type": "json_object"}},
            "tools": [{"type": "function", "name": "paint", "parameters": SCHEMA}],
        },
        "streamed": {"messages": [{"role": "user", "content": "Count to three"}], "stream": True},
        "huge": {"messages": [{"role": "user", "content": "x" * 900_000}]},
        "noted": {"messages": [{"role": "user", "content": "With notes"}]},
        "measured": {},
        "newest": {"messages": [{"role": "user", "content": "The newest"}]},
    }
    began = time.time() - 60
    made = {name: _plain(at, began + at, body) for at, (name, body) in enumerate(requests.items())}
    dialects = {"anthropic": ("anthropic", "/anthropic/v1/messages"), "ollama": ("ollama", "/api/generate")}
    for name, (dialect, path) in dialects.items():
        made[name] = replace(made[name], dialect=dialect, path=path)
    made["ollama"] = replace(made["ollama"], operation="completion")
    made["response"] = replace(made["response"], operation="response", path="/v1/responses")
    media: dict[str, JsonValue] = {
        _hash(PICTURE): {"width": 64, "height": 48, "base64": base64.b64encode(PICTURE).decode()},
        _hash(PAGE): {"base64": base64.b64encode(PAGE).decode()},
    }
    made["pictures"] = replace(made["pictures"], request_media=media)
    made["clock"] = replace(made["clock"], cached_tokens=10, prompt_tokens=640)
    made["noted"] = replace(made["noted"], annotations={"topic": "whales", "cost": {"in": 2}, FAULT: "slow"})
    bare = {"request_body": b"", "response_body": b"", "request_headers": {}, "response_headers": {}}
    made["measured"] = replace(made["measured"], **bare)
    made["streamed"] = _streamed(made["streamed"], "One, ", "two, ", "three.")
    made["newest"] = replace(made["newest"], service="mails")
    return made


def _plain(number: int, at: float, request: dict[str, JsonValue]) -> Exchange:
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]}
    return Exchange(
        id=f"{id_at(at)}-7000-8000-{number:012x}", project="kinds", service="web", method="POST",
        path="/engines/v1/chat/completions", operation="chat", received_at=at, status=200, engine="llama.cpp",
        model_requested="ai/smollm2", model_reference="docker.io/ai/smollm2:latest", context_tokens=4096,
        queue_ms=10.0, load_ms=20.0, first_token_ms=130.0, total_ms=1130.0, prompt_tokens=520, completion_tokens=12,
        cached_tokens=0, finish_reason="stop", request_headers={"content-type": "application/json"},
        request_body=json.dumps({"model": "ai/smollm2", **request}).encode(),
        response_headers={"content-type": "application/json"}, response_body=json.dumps(answer).encode(),
    )  # fmt: skip


def _streamed(one: Exchange, *words: str) -> Exchange:
    body, offsets = b"", []
    for at, word in enumerate(words):
        offsets.append((130.0 + 250.0 * at, len(body)))
        body += b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}).encode() + b"\n\n"
    headers = {"content-type": "text/event-stream"}
    return replace(one, stream=True, response_body=body, chunk_offsets=tuple(offsets), response_headers=headers)


def _clocked(minute: int) -> dict[str, JsonValue]:
    system = f"It is 2026-11-28 17:0{minute}. {RULES}"
    said = ["Who?"] if minute == 3 else ["Who?", "Nobody.", "Why?"]
    roles = ("user", "assistant")
    told: list[JsonValue] = [{"role": roles[at % 2], "content": text} for at, text in enumerate(said)]
    return {"messages": [{"role": "system", "content": system}, *told]}


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def _picture(data: bytes) -> JsonValue:
    marker = f"[media image/png, {len(data)} bytes, sha256:{_hash(data)}]"
    return {"type": "image_url", "image_url": {"url": marker}}
