"""The application of a RayService on a real Ray: Serve's proxy leads to a llama.cpp server that asks for its key."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.groups import LLAMA_SERVER
from tests.ports import free_port
from tests.tiny_gguf import write_tiny_llama

_PROGRAM = """
import json, os, sys, urllib.error, urllib.request
import psutil, ray
from ray import serve
from ray.serve.schema import ServeDeploySchema
import yaml

config = yaml.safe_load(sys.argv[1])
port = config["http_options"]["port"]
ServeDeploySchema(**config)  # what KubeRay hands to Serve
ray.init(num_cpus=2, _temp_dir=os.environ["RAY_TMPDIR"], include_dashboard=False, logging_level="ERROR")
serve.start(http_options={"host": "127.0.0.1", "port": port})
from dmrc_ray.http_application import build
(application,) = config["applications"]
serve.run(build(application["args"]), name=application["name"], route_prefix=application["route_prefix"])

def ask(key, stream):
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "stream": stream}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, ""]

answers = [ask("right", False), ask("right", True), ask("wrong", False)]
model = application["args"]["arguments"][1]
(server,) = [each for each in psutil.process_iter(["cmdline", "exe"])
    if {model, "--jinja"} <= set(each.info["cmdline"] or ())
    and os.path.basename(each.info["exe"] or "").startswith("llama")]
server.parent().kill()  # the replica
gone, _ = psutil.wait_procs([server], timeout=60)
print(json.dumps([*answers, len(gone)]))
serve.shutdown()
ray.shutdown()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Ray's sockets want a short name."""
    name = tempfile.mkdtemp(prefix="r-", dir="/tmp")
    yield Path(name)
    shutil.rmtree(name, ignore_errors=True)


_NO_SERVER = """
import asyncio
from dmrc_ray.http_application import HttpLlamaServer

asyncio.run(HttpLlamaServer.__init__(object.__new__(HttpLlamaServer), ["--model", "m.gguf"]))
"""


def test_a_node_without_a_server_of_llama_cpp_says_so(needs_ray: None, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_SERVER],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )

    assert "FileNotFoundError" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(r"RuntimeError: node '.+' has no llama-server on its PATH: install llama\.cpp there", last)


@pytest.mark.timeout(300)
def test_a_replica_owns_a_server_and_answers_over_http(
    directory: Path, tmp_path: Path, needs_ray: None, needs_llama_server: None
) -> None:
    model = write_tiny_llama(tmp_path / "tiny.gguf")
    arguments = ["--model", str(model), "--host", "0.0.0.0", "--port", "8080", "--ctx-size", "256", "--jinja"]
    config = {
        "http_options": {"host": "127.0.0.1", "port": free_port()},
        "applications": [
            {
                "name": "dmrc-model-llm",
                "route_prefix": "/",
                "import_path": "dmrc_ray.http_application:build",
                "args": {"arguments": arguments},
                "deployments": [{"name": "llama-server", "num_replicas": 1, "ray_actor_options": {"num_cpus": 1}}],
            }
        ],
    }
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/llama-server").symlink_to(str(LLAMA_SERVER))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(Path(str(LLAMA_SERVER)).resolve().parent),
        "LLAMA_API_KEY": "right",
        "RAY_TMPDIR": str(directory),
        "RAY_USAGE_STATS_ENABLED": "0",
    }

    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(config)], env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr[-4000:]
    whole, streamed, refused, gone = json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith("[["))
    )
    assert json.loads(whole[1])["usage"]["completion_tokens"] == 4
    assert streamed[1].rstrip().endswith("data: [DONE]")
    assert refused[0] == 401
    assert gone == 1, "the server outlives its replica"
