"""An OpenAI-compatible server that repeats what it is told in pieces, and never gives one answer twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving

PIECE = 5
"""Characters in a piece of a stream."""


class Echo(ThreadingHTTPServer):
    """The server. Its answer to the words W, asked for the third time, is `3: W`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        """The bodies of all requests."""
        self.pause_seconds = 0.0
        """Before each piece of a stream."""
        self.first_pause_seconds = 0.0
        """Before the first of them as well."""
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def model(self) -> dict[str, object]:
        """The entry of a model that this server serves."""
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return {"model": "local/echo", "x-dmrc": {"upstream": {"url": url, "model": "echo"}}}

    def answer_to(self, body: dict[str, Any]) -> str:
        """Count the request, and return what is said to it."""
        words = str(body["messages"][-1]["content"])
        with self._lock:
            self.asked.append(body)
            self._counts[words] = count = self._counts.get(words, 0) + 1
        return f"{count}: {words}"

    def say_again(self, words: str) -> None:
        """Answer these words next as they were answered the last time."""
        with self._lock:
            self._counts[words] -= 1


class _Handler(BaseHTTPRequestHandler):
    server: Echo
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # pieces come when they are sent

    def do_GET(self) -> None:
        self._whole({"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = self.server.answer_to(body)
        if not body.get("stream"):
            message = {"role": "assistant", "content": answer}
            self._whole(_document("chat.completion", message=message, finish_reason="stop"))
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        time.sleep(self.server.first_pause_seconds)
        pieces = [answer[at : at + PIECE] for at in range(0, len(answer), PIECE)]
        for piece in pieces:
            time.sleep(self.server.pause_seconds)
            self._event(json.dumps(_document("chat.completion.chunk", delta={"content": piece}, finish_reason=None)))
        self._event(json.dumps(_document("chat.completion.chunk", delta={}, finish_reason="stop")))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def _whole(self, document: dict[str, object]) -> None:
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _document(kind: str, **choice: object) -> dict[str, object]:
    usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}} if "message" in choice else {}
    return {"id": "echo-1", "object": kind, "created": 1, "model": "echo", "choices": [{"index": 0, **choice}], **usage}


@contextmanager
def echoing() -> Iterator[Echo]:
    """Serve in a thread."""
    server = Echo()
    with serving(server):
        yield server
