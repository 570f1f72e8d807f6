"""A server that answers as Hugging Face does, to the real client: repositories, files behind a redirect, refusals.

Source: https://huggingface.co/docs/hub/api and what huggingface_hub reads (X-Error-Code, lfs.sha256).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.serving import serving

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Repository:
    """One repository."""

    files: dict[str, bytes]
    """By path."""
    gated_for: str | None = None
    """Token that opens it; None is open to all."""
    revisions: tuple[str, ...] = ("main", COMMIT)
    """Branches, tags and commits."""
    digests: dict[str, str] = field(default_factory=dict)
    """LFS digests that lie, by path."""


@dataclass
class HuggingFace:
    """A running server; files come from a second one, as from a content network."""

    repositories: dict[str, Repository]
    url: str = ""
    files_url: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Server (`api` or `files`), path and Authorization of each request."""
    changed: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Bytes that are sent in place of a file's, by repository and path; of the same length."""
    sent_bytes: int = 0
    """Bytes of files that were sent."""
    bytes_per_second: float | None = None
    """How fast each connection sends files; None is at once."""


Serve = Callable[..., HuggingFace]
"""Serves repositories, `org__name=Repository(…)`, and makes dmrc take them for Hugging Face."""


@contextmanager
def hugging_face(repositories: dict[str, Repository]) -> Iterator[HuggingFace]:
    """Serve these repositories by their names."""
    state = HuggingFace(repositories)
    api, files = _Server(state, "api"), _Server(state, "files")
    state.url, state.files_url = (f"http://127.0.0.1:{server.server_port}" for server in (api, files))
    with serving(api), serving(files):
        yield state


class _Server(ThreadingHTTPServer):
    """One of the two servers."""

    def __init__(self, state: HuggingFace, name: Literal["api", "files"]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state
        self.name = name


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        self.server.state.requests.append((self.server.name, self.path, self.headers.get("Authorization")))
        path = self.path.partition("?")[0]
        if self.server.name == "files":
            self._file(path)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            self._info(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(match[1], match[3])
        else:
            self._answer(404, b"{}")

    do_HEAD = do_GET

    def _is_allowed(self, name: str) -> bool:
        """Answer 401 for what is missing or closed, as the real one does."""
        found = self.server.state.repositories.get(name)
        if found is None:
            self._answer(401, b'{"error":"Invalid username or password."}', {"X-Error-Code": "RepoNotFound"})
            return False
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if found.gated_for not in (None, token):
            self._answer(403, b'{"error":"gated"}', {"X-Error-Code": "GatedRepo"})
            return False
        return True

    def _info(self, name: str, revision: str | None) -> None:
        if not self._is_allowed(name):
            return
        found = self.server.state.repositories[name]
        if revision not in (None, *found.revisions):
            self._answer(404, b'{"error":"Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = []
        for path, data in found.files.items():
            sha256 = found.digests.get(path) or hashlib.sha256(data).hexdigest()
            lfs = {"sha256": sha256, "size": len(data), "pointerSize": 134}
            blob_id = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": blob_id}
            siblings.append({**entry, "lfs": lfs} if path.endswith((".gguf", ".safetensors")) else entry)
        self._answer(200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())

    def _resolve(self, name: str, path: str) -> None:
        if self._is_allowed(name):
            self._answer(302, b"", {"Location": f"{self.server.state.files_url}/{name}/{path}"})

    def _file(self, path: str) -> None:
        _, owner, repository, name = path.split("/", 3)
        state, key = self.server.state, f"{owner}/{repository}"
        data = state.changed.get((key, name), state.repositories[key].files[name])
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None:
            self._answer(200, data)
            return
        start, end = int(match[1]), min(int(match[2]) + 1, len(data))
        self._answer(206, data[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        state, step = self.server.state, 64 << 10
        for start in range(0, len(body), step) if self.server.name == "files" else ():
            if state.bytes_per_second:
                time.sleep(step / state.bytes_per_second)
            state.sent_bytes += self.wfile.write(body[start : start + step])
        if self.server.name == "api":
            self.wfile.write(body)
