"""An OpenAI-compatible server that misbehaves on purpose, one way under each path, and remembers what it was sent."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving

KEY = "sk-upstream-secret"


class StrangeUpstream(ThreadingHTTPServer):
    """The server; `http://127.0.0.1:PORT/WAY/v1` is an upstream of each way: `plain`, `limits`, `moves`, `hangs-up`…"""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], dict[str, object]]] = []

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{way}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: StrangeUpstream
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = 401 if self.headers.get("authorization") != f"Bearer {KEY}" else 200
        self._answer(status, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        way = self.path.split("/")[1]
        if not self.path.endswith("/chat/completions"):
            self._answer(404, {"error": {"message": "no such route"}})
        elif way == "limits":
            self._answer(429, {"error": {"message": f"slow down, {KEY}", "type": "tokens"}}, {"retry-after": "60"})
        elif way == "moves":
            self._answer(
                307, {}, {"location": f"http://bob:{KEY}@localhost:{self.server.server_port}/plain?token={KEY}"}
            )
        elif way == "works-and-goes":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif way == "breaks":
            self._event({"id": "1", "choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]})
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._answer(200, {"id": "1", "model": body["model"], "choices": [{"message": {"content": "hello"}}]})
            if way == "hangs-up":
                # The client believes that the connection is kept, and learns better with its next request.
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

    def _answer(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _event(self, document: object) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        data = b"data: " + json.dumps(document).encode() + b"\n\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def strange_upstream() -> Iterator[StrangeUpstream]:
    """Serve in a thread."""
    server = StrangeUpstream()
    with serving(server):
        yield server
