"""A server that answers chat completions and nothing else, as many do: a real engine's, without its own extras."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving

_EXTRAS = ("timings", "prompt_progress")


class ChatsOnly(ThreadingHTTPServer):
    """Hands chat completions on to a server at `upstream`, and notes what it is asked for."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.requests: list[tuple[str, dict[str, object]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: ChatsOnly

    def do_GET(self) -> None:
        self._answer(200, b'{"object": "list", "data": []}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, json.loads(body)))
        if self.path != "/v1/chat/completions":
            return self._answer(404, b'{"detail": "Not Found"}')
        request = urllib.request.Request(f"{self.server.upstream}{self.path}", body)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                if answer.headers.get_content_type() != "text/event-stream":
                    return self._answer(200, _plain(answer.read()))
                self._begin(200, "text/event-stream")
                for line in answer:
                    data = line.removeprefix(b"data: ")
                    is_object = line.startswith(b"data: {")
                    self.wfile.write(b"data: " + _plain(data) + b"\n" if is_object else line)
                    self.wfile.flush()
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())

    def _answer(self, status: int, body: bytes) -> None:
        self._begin(status, "application/json")
        self.wfile.write(body)

    def _begin(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _plain(body: bytes) -> bytes:
    """Return an answer as servers that are not llama.cpp give it."""
    return json.dumps({name: value for name, value in json.loads(body).items() if name not in _EXTRAS}).encode()


@contextmanager
def chats_only(upstream: str) -> Iterator[ChatsOnly]:
    """Serve in a thread."""
    server = ChatsOnly(upstream)
    with serving(server):
        yield server
