"""A compose project that is recorded and replayed by a real daemon, as `dmrc env` registers it."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

from dmrc.fields import JsonObject
from tests.dmrc_command import Dmrc

MODEL = "local/tiny"
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """One answer, read chunk by chunk."""

    status: int
    headers: dict[str, str]
    chunks: tuple[tuple[float, bytes], ...]
    """When each HTTP chunk was there, by `time.perf_counter`, and its bytes; of a whole answer the one body."""

    @property
    def body(self) -> bytes:
        return b"".join(chunk for _, chunk in self.chunks)

    @property
    def pieces(self) -> list[bytes]:
        return [chunk for _, chunk in self.chunks]


@dataclass
class ReplayedShop:
    """The project; `up` writes its file and registers it."""

    dmrc: Dmrc
    directory: Path
    services: tuple[str, ...] = ("web",)
    name: str = "shop"
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def cassettes(self) -> Path:
        return self.directory / "cassettes"

    def up(self, replay: object, environment: object = None, **project: object) -> None:
        """Register it with what `x-dmrc: replay` says, and more of the project's `x-dmrc`."""
        self.directory.mkdir(exist_ok=True)
        if self.keys:
            self.report()  # by which all is on disk that was recorded
        service = {"image": "none", "models": ["llm"], "environment": environment or {}}
        document = {
            "name": self.name,
            "x-dmrc": {"replay": replay, **project},
            "services": dict.fromkeys(self.services, service),
            "models": {"llm": {"model": MODEL, "context_size": 512}},
        }
        (self.directory / "compose.yaml").write_text(json.dumps(document))
        for name in self.services:
            printed = self.dmrc.ok("env", name, "--format", "json", cwd=self.directory)
            self.keys[name] = json.loads(printed)["OPENAI_API_KEY"]

    def ask(self, path: str = CHAT, *, service: str = "web", **body: object) -> Reply:
        """Ask as a service; a chat is of two tokens unless `body` says otherwise."""
        chat = {"max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]} if path == CHAT else {}
        asked = {"model": MODEL, **chat, **body}
        connection = self.send(path, asked, service)
        try:
            return read(connection.getresponse())
        finally:
            connection.close()

    def send(self, path: str, body: object, service: str = "web") -> http.client.HTTPConnection:
        """Send a request whose answer is for the caller to read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.dmrc.port, timeout=60)
        key = self.keys.get(service, "")
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        return connection

    def get(self, path: str) -> JsonObject:
        """Return a document, as the service `web` gets it."""
        request = Request(f"http://127.0.0.1:{self.dmrc.port}{path}")
        request.add_header("authorization", f"Bearer {self.keys['web']}")
        with urlopen(request, timeout=60) as answer:
            document: JsonObject = json.load(answer)
        return document

    def report(self, project: str | None = None) -> JsonObject:
        """Return what the daemon says of the run."""
        return report(self.dmrc, f"/projects/{project or self.name}/replay")


def report(dmrc: Dmrc, path: str) -> JsonObject:
    """Return a report of the daemon's."""
    told = dmrc.daemon_client().request("GET", path)
    assert isinstance(told, dict)
    return told


def read(answer: http.client.HTTPResponse) -> Reply:
    """Read an answer, its chunks as the server framed them."""
    headers = {name.lower(): value for name, value in answer.getheaders()}
    chunks: list[tuple[float, bytes]] = []
    if headers.get("transfer-encoding") == "chunked":
        stream = answer.fp
        while size := int(stream.readline(), 16):
            chunks.append((time.perf_counter(), stream.read(size)))
            stream.readline()
    else:
        body = answer.read()
        chunks.append((time.perf_counter(), body))
    return Reply(answer.status, headers, tuple(chunks))
