"""`kill -9` of the engine in mid-stream, again and again: what callers see, and what the daemon keeps."""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.dmrc_command import Dmrc
from tests.docker_engine import DockerEngine
from tests.groups import LLAMA_SERVER
from tests.polling import eventually
from tests.processes import engines_of
from tests.tiny_gguf import write_tiny_llama

KILLS = int(os.environ.get("DMRC_TEST_KILLS", "0"))
"""How often; `make bench ARGS=kills` does it 50 times. 0: as often as each kind says."""

MODELS = [f"local/tiny{number}" for number in range(10)]
"""In turn, or the pause after several deaths of one would be all that takes time."""


@dataclass(frozen=True)
class Kind:
    """One kind of child."""

    engine: str
    environment: Mapping[str, str] = field(default_factory=dict)
    kills: int = 4


_SLOW = pytest.mark.slow("kills an engine again and again, which starts anew")
KINDS = [
    pytest.param(Kind("llama.cpp", kills=10), marks=pytest.mark.engine, id="xllamacpp"),
    pytest.param(
        Kind("llama.cpp", {"DMRC_LLAMA_SERVER": LLAMA_SERVER or ""}),
        marks=(pytest.mark.llama_server, _SLOW),
        id="llama-server",
    ),
    pytest.param(Kind("llama-cpp-python"), marks=(pytest.mark.llama_cpp_python, _SLOW), id="llama-cpp-python"),
]


def containers(engine: DockerEngine, dmrc: Dmrc) -> list[str]:
    return engine.docker("ps", "--all", "--quiet", "--filter", f"label=io.dmrc.home={dmrc.home}").split()


def stream(dmrc: Dmrc, model: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", dmrc.port, timeout=60)
    body = {"model": model, "prompt": "ba be", "max_tokens": 100_000, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body))
    return connection, connection.getresponse()


def stream_that_runs(dmrc: Dmrc, model: str = MODELS[0]) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Open a stream; an engine that has died several times rests for some seconds, and says so."""

    def look() -> tuple[http.client.HTTPConnection, http.client.HTTPResponse] | None:
        connection, answer = stream(dmrc, model)
        if answer.status == 200 and answer.readline().startswith(b"data: "):
            return connection, answer
        assert answer.status == 503, answer.read()
        time.sleep(float(answer.headers["retry-after"]) / 2)
        connection.close()
        return None

    return eventually(look, "stream", seconds=90)


def kill_again_and_again(dmrc: Dmrc, kind: Kind, docker: DockerEngine | None, directory: Path) -> None:
    """Kill in mid-stream; the children of the daemon, or with `docker` their containers."""
    kills = KILLS or kind.kills
    dmrc.environment |= kind.environment
    for number, model in enumerate(MODELS[:kills]):
        gguf = write_tiny_llama(directory / f"{number}.gguf", context_length=1 << 17, seed=number)
        dmrc.ok("package", "--gguf", gguf, "--context-size", str(1 << 17), model)
        dmrc.ok("configure", "--engine", kind.engine, "--keep-alive", "5m", model)  # starts the daemon
    daemon = dmrc.daemon()
    stream_that_runs(dmrc)[0].close()
    open_before = daemon.num_fds()
    moment = random.Random(kind.engine)

    for number in range(kills):
        connection, answer = stream_that_runs(dmrc, MODELS[number % len(MODELS)])
        for _ in range(moment.randrange(100)):
            answer.readline()
        if docker is not None:
            docker.docker("kill", "--signal", "KILL", *containers(docker, dmrc), check=False)
        for child in engines_of(daemon, recursive=False) if docker is None else ():
            child.kill()
        rest = answer.read()
        connection.close()
        last = [line for line in rest.splitlines() if line.startswith(b"data: ")][-1]
        assert b"[DONE]" not in rest
        assert "broke off" in json.loads(last[6:])["error"]["message"]

    connection, answer = stream_that_runs(dmrc)
    connection.close()
    assert len(engines_of(daemon)) == 1
    assert not [child for child in daemon.children() if child.status() == psutil.STATUS_ZOMBIE]
    assert len(list((dmrc.home / "run").glob("runner-*.d" if docker else "runner-*.sock"))) == 1
    assert docker is None or len(containers(docker, dmrc)) == 1
    eventually(lambda: daemon.num_fds() <= open_before + 2, "closed files")

    dmrc.ok("stop-runner")

    assert docker is None or not containers(docker, dmrc)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kill_is_an_error_event_and_never_done_and_nothing_is_left(dmrc: Dmrc, kind: Kind, tmp_path: Path) -> None:
    kill_again_and_again(dmrc, kind, None, tmp_path)


@_SLOW
def test_each_kill_of_a_container_is_so_too(
    dmrc: Dmrc, docker_engine: DockerEngine, llama_image: str, tmp_path: Path
) -> None:
    docker_engine.docker("tag", llama_image, "ghcr.io/ggml-org/llama.cpp:server")  # what fits a machine without a card

    kill_again_and_again(dmrc, Kind("container", docker_engine.environment), docker_engine, tmp_path)
