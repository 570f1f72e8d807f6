"""An OpenAI-compatible server that answers as a model of agents does: with tools that a script names, else with words.

The newest user message that has names in brackets, `[find, transfer_to_writer]`, is the script: the first of its tools
that is offered and was not called since is called, and each name calls once. Words are drawn by a dice, no two answers
are alike; a user message with `say again` gets the words that everybody gets.
"""

from __future__ import annotations

import json
import random
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving

GREETING = "Hello! How can I help you today? Let me know if you have any questions."
_WORDS = ("whale", "harbour", "lighthouse", "schooner", "anchor", "compass", "heron", "lobster", "tide", "captain")


class AgentServer(ThreadingHTTPServer):
    """The server; `url` is an upstream."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._dice = random.Random(7)
        self._drawing = threading.Lock()
        self.answered = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the message for a request."""
        with self._drawing:
            self.answered += 1
        messages = body["messages"]
        names = [tool["function"]["name"] for tool in body.get("tools") or ()]
        if (name := _next_tool(messages, names)) is not None:
            arguments = json.dumps({"text": self._sentences(1)})
            function = {"name": name, "arguments": arguments if _has_text(body, name) else "{}"}
            call = {"index": 0, "id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        last = next((_text(one) for one in reversed(messages) if one["role"] == "user"), "")
        return {"role": "assistant", "content": GREETING if "say again" in last else self._sentences(3)}

    def _sentences(self, count: int) -> str:
        with self._drawing:
            return " ".join(
                f"The {' '.join(self._dice.choices(_WORDS, k=6))} is number {self._dice.randrange(10**6)}."
                for _ in range(count)
            )


def _next_tool(messages: list[dict[str, Any]], offered: list[str]) -> str | None:
    script: list[str] = []
    called: list[str] = []
    for message in messages:
        if message["role"] == "user" and (found := re.search(r"\[([\w, ]+)\]", _text(message))):
            script, called = found[1].split(", "), []
        called += (call["function"]["name"] for call in message.get("tool_calls") or ())
    for name in called:
        if name in script:
            script.remove(name)
    return next((name for name in script if name in offered), None)


def _has_text(body: dict[str, Any], name: str) -> bool:
    """Return whether a tool takes arguments."""
    (tool,) = (tool for tool in body["tools"] if tool["function"]["name"] == name)
    return bool((tool["function"].get("parameters") or {}).get("properties"))


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


class _Handler(BaseHTTPRequestHandler):
    server: AgentServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._send("application/json", json.dumps({"object": "list", "data": []}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = self.server.answer(body)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": 1, "model": "agent"}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        if body.get("stream"):
            chunks = [
                *({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in _deltas(message)),
                {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
                {"choices": [], "usage": usage},
            ]
            lines = [json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
            self._send("text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode())
            return
        choice = {"index": 0, "message": message, "finish_reason": reason}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        self._send("application/json", json.dumps(whole).encode())

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant"}
    if message.get("tool_calls"):
        yield {"tool_calls": message["tool_calls"]}
        return
    text = message["content"]
    yield from ({"content": text[start : start + 20]} for start in range(0, len(text), 20))


@contextmanager
def agent_server() -> Iterator[AgentServer]:
    server = AgentServer()
    with serving(server):
        yield server
