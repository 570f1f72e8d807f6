"""Requests in each dialect, whole and streamed, that want words, JSON of a schema, or a call of a tool."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from tests.comparison.scripted_server import SCHEMA, TOOL

Body = dict[str, object]


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    body: Body

    def send(self, port: int, key: str) -> str:
        """Send it, and return the id of its exchange."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{self.path}",
            json.dumps(self.body).encode(),
            {"authorization": f"Bearer {key}", "content-type": "application/json", "anthropic-version": "2023-06-01"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return str(answer.headers["x-dmrc-exchange-id"])


def every_way(kind: str, model: str, count: int, **more: object) -> Iterator[Asked]:
    """Yield `count` requests, in turn of each dialect, whole and streamed."""
    ways = [(dialect, stream) for stream in (False, True) for dialect in (_openai, _anthropic, _ollama, _responses)]
    for number in range(count):
        dialect, stream = ways[number % len(ways)]
        yield dialect(kind, number, model, stream=stream, **more)


def _openai(kind: str, number: int, model: str, *, stream: bool, **more: object) -> Asked:
    body: Body = {"model": model, "stream": stream, "messages": _messages(kind, number), **more}
    if kind == "json":
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    if kind == "tool":
        body["tools"] = [{"type": "function", "function": TOOL}]
    return Asked("/engines/v1/chat/completions", body)


def _anthropic(kind: str, number: int, model: str, *, stream: bool, **more: object) -> Asked:
    body: Body = {"model": model, "stream": stream, "messages": _messages(kind, number), "max_tokens": 200, **more}
    if kind == "json":
        body["output_config"] = {"format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}}
    if kind == "tool":
        body["tools"] = [{"name": "weather", "input_schema": TOOL["parameters"]}]
    return Asked("/anthropic/v1/messages", body)


def _ollama(kind: str, number: int, model: str, *, stream: bool, **more: object) -> Asked:
    body: Body = {"model": model, "stream": stream, "messages": _messages(kind, number)}
    names = {"max_tokens": "num_predict"}
    body["options"] = {names.get(name, name): value for name, value in more.items()}
    if kind == "json":
        body["format"] = SCHEMA
    if kind == "tool":
        body["tools"] = [{"type": "function", "function": TOOL}]
    return Asked("/api/chat", body)


def _responses(kind: str, number: int, model: str, *, stream: bool, **more: object) -> Asked:
    body: Body = {"model": model, "stream": stream, "input": _messages(kind, number)}
    if "temperature" in more:
        body["temperature"] = more["temperature"]
    if "max_tokens" in more:
        body["max_output_tokens"] = more["max_tokens"]
    if kind == "json":
        body["text"] = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}
    if kind == "tool":
        body["tools"] = [{"type": "function", **TOOL}]
    return Asked("/v1/responses", body)


def _messages(kind: str, number: int) -> list[Body]:
    return [{"role": "user", "content": f"{kind} {number}"}]
