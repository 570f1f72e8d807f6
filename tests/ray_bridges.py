"""Bridges as dmrc starts them, each for a home of its own, and what is asked of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from dmrc_ray.engine import RayEngine

from dmrc.engines.engine import Launch
from dmrc.engines.environment import child_environment
from dmrc.engines.local_model import LocalModel
from dmrc.gguf import GgufFacts
from dmrc.paths import Paths
from dmrc.project import ServingOptions

START_SECONDS = 120.0
_POLL_SECONDS = 0.1


def model_at(path: Path) -> LocalModel:
    """Return a GGUF file as a model."""
    with path.open("rb") as stream:
        return LocalModel(path=path, facts=GgufFacts.parse(stream, name=path.name))


class Bridge:
    """One bridge, which is ended by `end`."""

    def __init__(
        self, home: Path, model: LocalModel, options: ServingOptions, runner: str = "0" * 12, name: str = "ai/tiny"
    ) -> None:
        """Start it; `runner` names the application."""
        home.mkdir(exist_ok=True)
        self.socket = home / f"{runner}.sock"
        self.log = home / f"{runner}.log"
        self.socket.unlink(missing_ok=True)
        engine = RayEngine(Paths(home))
        settled = engine.settle("tiny", model, replace(options, engine="ray"), None)
        launch = Launch(
            name=name,
            runner=runner,
            digest="sha256:" + "1" * 64,
            model=model,
            options=settled,
            parallel=engine.asked_parallel(settled) or 2,
            socket=self.socket,
            log=self.log,
        )
        with self.log.open("ab") as log:
            environment = child_environment({**os.environ, "RAY_ADDRESS": ""})
            self.process = subprocess.Popen(
                engine.command(launch), stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def ready(self) -> Bridge:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(_POLL_SECONDS)
        return self

    def _is_healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", "/health").status == 200
        return False

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Ask it, and return the answer as soon as its head is there."""
        connection = http.client.HTTPConnection("runner")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(START_SECONDS)
        connection.sock.connect(str(self.socket))
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers or {}))
        return connection.getresponse()

    def chat(self, text: str = "Hi", tokens: int = 4, *, stream: bool = False, **headers: str) -> Any:
        """Ask for an answer in a chat; a stream is returned as it begins."""
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "stream": stream}
        body |= {"temperature": 0, "ignore_eos": True}
        return self.ask(
            "POST", "/v1/chat/completions", body, {name.replace("_", "-"): headers[name] for name in headers}
        )

    def shown(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of `GET /replicas` as they come."""
        answer = self.ask("GET", "/replicas")
        while line := answer.readline():
            yield json.loads(line)

    def replicas(self) -> list[dict[str, Any]]:
        """Return the replicas as they are now."""
        return list(next(self.shown())["replicas"])

    def wait_for(self, names: int, seconds: float = START_SECONDS) -> list[dict[str, Any]]:
        """Wait until so many replicas are ready, and no other is there."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.replicas()
            if len(found) == names and all(each["state"] == "ready" for each in found):
                return found
            assert time.monotonic() < deadline, f"{found}\n{self.log.read_text()[-3000:]}"
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """Kill it, as the end of a daemon that was killed does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """End it as dmrc does, and return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def servers(path: Path) -> list[psutil.Process]:
    """Return the llama.cpp servers of this machine that serve a file."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(path) in word for word in process.cmdline()) and "bridge" not in " ".join(process.cmdline()[:5]):
                found.append(process)
    return found


def until(claim: Any, seconds: float, what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(_POLL_SECONDS)
