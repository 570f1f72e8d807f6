"""`kill -9` of the engine in mid-stream, again and again: what callers see, and what the daemon keeps."""

import http.client
import json
import os
import time
from pathlib import Path

import psutil
import pytest

from tests.dmrc_command import Dmrc
from tests.polling import eventually
from tests.tiny_gguf import write_tiny_llama

pytestmark = pytest.mark.engine

KILLS = int(os.environ.get("DMRC_TEST_KILLS", "10"))
"""How often; `make bench ARGS=kills` does it 50 times."""


MODELS = [f"local/tiny{number}" for number in range(10)]
"""In turn, or the pause after several deaths of one would be all that takes time."""


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


def test_each_kill_is_an_error_event_and_never_done_and_nothing_is_left(dmrc: Dmrc, tmp_path: Path) -> None:
    for number, model in enumerate(MODELS):
        gguf = write_tiny_llama(tmp_path / f"{number}.gguf", context_length=1 << 17, seed=number)
        dmrc.ok("package", "--gguf", gguf, "--context-size", str(1 << 17), model)
    dmrc.ok("configure", "--keep-alive", "5m", MODELS[0])  # starts the daemon
    daemon = psutil.Process(json.loads(dmrc.ok("status", "--json"))["pid"])
    stream_that_runs(dmrc)[0].close()
    open_before = daemon.num_fds()

    for number in range(KILLS):
        connection, answer = stream_that_runs(dmrc, MODELS[number % len(MODELS)])
        for child in daemon.children():
            child.kill()
        rest = answer.read()
        connection.close()
        last = [line for line in rest.splitlines() if line.startswith(b"data: ")][-1]
        assert b"[DONE]" not in rest
        assert "broke off" in json.loads(last[6:])["error"]["message"]

    connection, answer = stream_that_runs(dmrc)
    connection.close()
    assert len(daemon.children(recursive=True)) == 1
    assert not [child for child in daemon.children() if child.status() == psutil.STATUS_ZOMBIE]
    assert len(list((dmrc.home / "run").glob("runner-*.sock"))) == 1
    eventually(lambda: daemon.num_fds() <= open_before + 2, "closed files")
