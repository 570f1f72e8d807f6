"""An OpenAI-compatible server with two models by script: `good`, and `bad`, which misbehaves on purpose.

What it answers the last message says: `json 1`, `tool 2`, `text 3`, `refuse 4`, `fail 5`, `wait 6`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving

STORY = "A lighthouse keeper found a bottle on the beach and read the letter that was in it."
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["city", "age"],
}
TOOL = {
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class ScriptedServer(ThreadingHTTPServer):
    """The server; `url` is an upstream."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, object]] = []
        self.may_answer = threading.Event()
        """The bad model answers `wait` when this is set."""

    def handle_error(self, *_who: object) -> None:
        """Say nothing of callers who hung up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


def _message(kind: str, number: int, *, is_bad: bool) -> tuple[dict[str, object], str]:
    if kind == "json":
        bad = ['{"city": "Rome", "age": ', '{"city": "Rome", "age": "old"}', "Rome is 2777 years old."][number % 3]
        return {"content": bad if is_bad else '{"city": "Rome", "age": 2777}'}, "stop"
    if kind == "tool":
        name, city = "weather", "Paris"
        if is_bad:
            name, city = [("time", "Paris"), ("weather", "Rome"), ("weather", 75)][number % 3]
        call = {"name": name, "arguments": json.dumps({"city": city})}
        return {
            "content": None,
            "tool_calls": [{"index": 0, "id": f"c{number}", "type": "function", "function": call}],
        }, ("tool_calls")
    if kind == "refuse" and is_bad:
        return {"content": "I'm sorry, but I can't help with that."}, "stop"
    if kind == "text" and is_bad:
        return {"content": STORY[:40]}, "length"
    return {"content": STORY}, "stop"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._whole(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        said = body["messages"][-1]["content"]
        said = said if isinstance(said, str) else said[0]["text"]
        kind, number = said.split()[:2]
        is_bad = body["model"] == "bad"
        if kind == "wait" and is_bad:
            self.server.may_answer.wait(30)
        if kind == "fail" and is_bad:
            self._whole(
                500, {"error": {"message": f"out of cards for {self.headers['authorization']}", "type": "server_error"}}
            )
            return
        message, reason = _message(kind, int(number), is_bad=is_bad)
        usage = {"prompt_tokens": 9, "completion_tokens": len(str(message)) // 4, "total_tokens": 0}
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
            self._whole(200, {**self._head("chat.completion"), "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for delta in _pieces(message):
            self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])
        self._chunk([{"index": 0, "delta": {}, "finish_reason": reason}])
        self._chunk([], usage)
        self._piece(b"data: [DONE]\n\n")
        self._piece(b"")

    def _head(self, kind: str) -> dict[str, object]:
        return {"id": "x", "object": kind, "created": 1, "model": "scripted"}

    def _chunk(self, choices: list[object], usage: dict[str, int] | None = None) -> None:
        document = {**self._head("chat.completion.chunk"), "choices": choices, **({"usage": usage} if usage else {})}
        self._piece(b"data: " + json.dumps(document).encode() + b"\n\n")

    def _piece(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _whole(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _pieces(message: dict[str, object]) -> Iterator[dict[str, object]]:
    yield {"role": "assistant"}
    if message.get("tool_calls"):
        yield {"tool_calls": message["tool_calls"]}
        return
    text = str(message["content"])
    yield from ({"content": text[start : start + 7]} for start in range(0, len(text), 7))


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    with serving(server):
        yield server
