"""A dmrc whose models are served on a Ray cluster, a project with four services, and callers who note what they saw."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil

from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.ray_cluster import RayCluster

MODEL = "local/smollm2"
SERVICES = ("web", "api", "mail", "bot")
_COMPOSE = """
name: {name}
services:
  web: {{image: none, models: [llm]}}
  api: {{image: none, models: [llm]}}
  mail: {{image: none, models: [llm]}}
  bot: {{image: none, models: [llm]}}
models:
  llm:
    model: {model}
    context_size: 512
    runtime_flags: ["--threads", "1"]
    x-dmrc: {{{served}}}
"""


@dataclass(frozen=True)
class Seen:
    """What a caller saw of one request."""

    name: str
    """What it called itself: the record has it as `user_agent`, and no other request has the same."""
    service: str
    """Whose key it had."""
    is_stream: bool
    status: int
    """0 where there was no answer at all."""
    has_begun: bool
    """Whether a byte of the answer's text came."""
    is_whole: bool
    """Whether it came to its end, without an error."""
    text: str
    """What it said, or its error."""


@dataclass
class Shop:
    """One project, and the keys of its services."""

    dmrc: Dmrc
    directory: Path
    keys: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def opened(cls, dmrc: Dmrc, served: str, name: str = "shop", model: str = MODEL) -> Iterator[Shop]:
        """Register a project whose model is served as `served`, the inside of `x-dmrc`, says; at the end it is down."""
        directory = dmrc.home / name
        directory.mkdir()
        (directory / "compose.yaml").write_text(_COMPOSE.format(name=name, model=model, served=served))
        shop = cls(dmrc, directory)
        dmrc.ok("env", SERVICES[0], cwd=directory)
        shop.keys = json.loads((dmrc.home / "projects" / name / "keys.json").read_text())
        try:
            yield shop
        finally:
            dmrc.ok("down", cwd=directory)
            shutil.rmtree(directory)

    def ask(self, service: str = "web", *, name: str = "pytest", stream: bool = False, **more: object) -> Seen:
        """Make one request, and return what came of it."""
        words = {"max_tokens": 24, "temperature": 0, "ignore_eos": True, "stream": stream} | more
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"Count. {name}"}], **words}
        headers = {"authorization": f"Bearer {self.keys.get(service, service)}", "user-agent": name}
        connection = http.client.HTTPConnection("127.0.0.1", self.dmrc.port, timeout=120)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            if not stream or answer.status != 200:
                document = json.loads(answer.read())
                is_whole = answer.status == 200
                text = document["choices"][0]["message"]["content"] if is_whole else document["error"]["message"]
                return Seen(name, service, stream, answer.status, is_whole, is_whole, text)
            return Seen(name, service, stream, answer.status, *_streamed(answer))
        except (OSError, http.client.HTTPException) as error:
            return Seen(name, service, stream, 0, False, False, repr(error))
        finally:
            connection.close()

    def replicas(self) -> list[dict[str, Any]]:
        """Return the replicas of the model, as `dmrc ps` tells; none where it is not loaded.

        No command is run for it: one after the other they would take a processor from those who start replicas.
        """
        found = self.dmrc.daemon_client().runners()
        return [replica for runner in found for replica in cast(list[dict[str, Any]], runner["replicas"])]

    def ready(self) -> list[dict[str, Any]]:
        """Return those that serve."""
        return [replica for replica in self.replicas() if replica["state"] == "ready"]

    def names_of_ready(self) -> set[str]:
        """Return the names of those that serve."""
        return {replica["name"] for replica in self.ready()}

    def wait_for(self, number: int, seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until so many serve and no other one is on its way, and return them."""

        def look() -> list[dict[str, Any]]:
            found = self.replicas()
            return found if len(found) == number and all(one["state"] == "ready" for one in found) else []

        return eventually(look, f"{number} replicas", seconds)

    def record(self) -> list[dict[str, Any]]:
        """Return what the record has of the project."""
        return json.loads(self.dmrc.ok("requests", "--project", self.directory.name, "-n", "10000", "--json"))


def _streamed(answer: http.client.HTTPResponse) -> tuple[bool, bool, str]:
    has_begun, text = False, ""
    for line in answer:
        if not line.startswith(b"data: "):
            continue
        if (data := line[6:].strip()) == b"[DONE]":
            return has_begun, True, text
        document = json.loads(data)
        if error := document.get("error"):
            return has_begun, False, error["message"]
        for choice in document["choices"]:
            if said := choice["delta"].get("content"):
                has_begun, text = True, text + said
    return has_begun, False, "the stream ended without [DONE]"


@contextmanager
def callers(shop: Shop, number: int = 8, tokens: int = 24) -> Iterator[list[Seen]]:
    """Have so many callers ask one request after the other until the block ends; half of them ask for streams."""
    seen: list[Seen] = []
    own = secrets.token_hex(4)
    ended, numbers = threading.Event(), itertools.count()

    def call(caller: int) -> None:
        chance = random.Random(caller)
        while not ended.is_set():
            name = f"{own}-{caller}-{next(numbers)}"
            service = SERVICES[caller % len(SERVICES)]
            length = tokens + chance.randrange(tokens)
            seen.append(shop.ask(service, name=name, stream=bool(caller // len(SERVICES) % 2), max_tokens=length))

    threads = [threading.Thread(target=call, args=(caller,), daemon=True) for caller in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join(120)
    assert not [thread for thread in threads if thread.is_alive()], "a request hangs"


def servers(cluster: RayCluster) -> list[psutil.Process]:
    """Return the llama.cpp servers on the nodes of a cluster."""
    return [process for process in cluster.processes() if _serves(process)]


def _serves(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.NoSuchProcess:
        return False
    return "dmrc.engines.llama_cpp.xllamacpp_child" in words or Path("".join(words[:1])).name == "llama-server"


def wait_until(when: float) -> None:
    """Wait for a moment of `time.monotonic`."""
    time.sleep(max(0.0, when - time.monotonic()))
