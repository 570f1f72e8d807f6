"""A registry that misbehaves on purpose."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from dmrc import artifact
from tests.registry import MANIFEST


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is none of our business; anything else is a mistake in a test."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Misbehaving:
    """Serves `answer(handler)` on a free port of loopback, and keeps what was asked."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        misbehaving = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                misbehaving.requests.append((self.path, dict(self.headers)))
                answer(self)

            do_POST = do_HEAD = do_PATCH = do_PUT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def respond(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer with this, and nothing else wrong."""
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def range_of(handler: BaseHTTPRequestHandler) -> tuple[int, int] | None:
    """Return the first byte and one past the last that the request asks for; None when it asks for all."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
    return (int(match[1]), int(match[2]) + 1) if match else None


def respond_range(handler: BaseHTTPRequestHandler, body: bytes, *, cut_after: int | None = None) -> None:
    """Answer with the range that was asked for; with `cut_after`, break the connection after so many bytes."""
    start, end = range_of(handler) or (0, len(body))
    handler.send_response(206 if "Range" in handler.headers else 200)
    if "Range" in handler.headers:
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
    handler.send_header("Content-Length", str(end - start))
    handler.end_headers()
    if cut_after is None or end - start <= cut_after:
        handler.wfile.write(body[start:end])
        return
    handler.wfile.write(body[start : start + cut_after])
    handler.close_connection = True


def digest_of(data: bytes) -> str:
    """Return `sha256:…`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


WEIGHTS = bytes(range(256)) * 20_000
CONFIG = json.dumps({"config": {"format": "gguf"}}).encode()
LAYER = {"mediaType": artifact.GGUF, "digest": digest_of(WEIGHTS), "size": len(WEIGHTS)}
MODEL = {
    "schemaVersion": 2,
    "mediaType": MANIFEST,
    "config": {"mediaType": artifact.CONFIG, "digest": digest_of(CONFIG), "size": len(CONFIG)},
    "layers": [LAYER],
}
BIG = random.Random(3).randbytes(40 << 20)
"""A layer of three pieces."""
BIG_MODEL = {**MODEL, "layers": [{"mediaType": artifact.GGUF, "digest": digest_of(BIG), "size": len(BIG)}]}
Answer = Callable[[BaseHTTPRequestHandler], None]


def serve(*, manifest: dict | None = None, weights: Answer | None = None, first: Answer | None = None) -> Answer:
    """Return a registry's answers, of which single ones may be replaced. `first` returns True when it has answered."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if first is not None and first(handler):
            return
        if "/manifests/" in handler.path:
            respond(handler, 200, json.dumps(manifest or MODEL).encode(), Content_Type=MANIFEST)
        elif handler.path.endswith(digest_of(CONFIG)):
            respond(handler, 200, CONFIG)
        elif handler.path.endswith(digest_of(WEIGHTS)):
            (weights or (lambda handler: respond(handler, 200, WEIGHTS)))(handler)
        else:
            respond(handler, 404)

    return answer


def serve_big(answer: Answer | None = None, *, first: Answer | None = None) -> Answer:
    """Return the answers of a registry with the large model; `answer` may replace that for its layer."""

    def answers(handler: BaseHTTPRequestHandler) -> bool:
        if first is not None and first(handler):
            return True
        if handler.path.endswith(digest_of(BIG)):
            (answer or (lambda handler: respond_range(handler, BIG)))(handler)
            return True
        return False

    return serve(manifest=BIG_MODEL, first=answers)


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Begin with the weights, and then say nothing until the caller is gone."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(WEIGHTS)))
    handler.end_headers()
    handler.wfile.write(WEIGHTS[:1000])
    handler.wfile.flush()
    handler.rfile.read(1)


def log_in(directory: Path, registry: str, password: str = "secret") -> None:
    """Write what `docker login` would."""
    auth = base64.b64encode(f"user:{password}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
