"""Docker Model Runner and llama-swap, where a machine has their programs outside the repository."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.bench._gateways import LLAMA_SWAP, MODEL_RUNNER, Gateway
from tests.bench._load import Load
from tests.bench._servers import started
from tests.ports import free_port
from tests.registry import DOCKER_CONFIG, DOCKER_GGUF, MANIFEST

_MODEL = "local/bench"
_START_SECONDS = 60
_STREAMS = 2000


def given(stack: ExitStack, engine: Path, gguf: Path, body: Mapping[str, object]) -> list[Gateway]:
    """Start those whose programs are given, with a `llama-server` and a model, until the stack is closed."""
    peers = {"DMRC_BENCH_MODEL_RUNNER": _model_runner, "DMRC_BENCH_LLAMA_SWAP": _llama_swap}
    return [
        stack.enter_context(start(str(Path(os.environ[variable]).resolve(strict=True)), engine, gguf, body))
        for variable, start in peers.items()
        if os.environ.get(variable)
    ]


@contextmanager
def _model_runner(program: str, engine: Path, gguf: Path, body: Mapping[str, object]) -> Iterator[Gateway]:
    """Run Docker Model Runner's server with a `llama-server` and a model."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="dmr-") as home:
        environment = {
            "HOME": home,
            "MODELS_PATH": f"{home}/models",
            "MODEL_RUNNER_PORT": str(port),
            "LLAMA_SERVER_PATH": str(engine.parent),
            "DISABLE_SERVER_UPDATE": "1",
            "DO_NOT_TRACK": "1",
        }
        with started([program], port, "/models", environment) as process:
            model = _load(port, gguf)
            yield _asked_once(MODEL_RUNNER, process, port, "/engines/v1/chat/completions", {**body, "model": model})


@contextmanager
def _llama_swap(program: str, engine: Path, gguf: Path, body: Mapping[str, object]) -> Iterator[Gateway]:
    """Run llama-swap with a `llama-server` and a model."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="swap-") as home:
        command = f"{engine} --port ${{PORT}} --model {gguf} --jinja"
        models = {_MODEL: {"cmd": command, "concurrencyLimit": _STREAMS}}
        config = Path(home) / "config.yaml"
        config.write_text(json.dumps({"startPort": free_port(), "models": models}))
        argv = [program, "--config", str(config), "--listen", f"127.0.0.1:{port}"]
        with started(argv, port, "/health", {"HOME": home}) as process:
            yield _asked_once(LLAMA_SWAP, process, port, "/v1/chat/completions", {**body, "model": _MODEL})


def _load(port: int, gguf: Path) -> str:
    """Put a model into the store of Docker Model Runner, and return its name there."""
    archive, name = _archive(gguf)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
    connection.request("POST", "/models/load", archive)
    answered = connection.getresponse()
    assert answered.status == 200, answered.read()
    return name


def _archive(gguf: Path) -> tuple[bytes, str]:
    """Return a model as Docker Model Runner exports one: `blobs/sha256/…` and, last, `manifest.json`; and its digest.

    Source: https://github.com/docker/model-runner/blob/main/pkg/distribution/tarball/target.go
    """
    weights = gguf.read_bytes()
    layer = _digest(weights)
    config = json.dumps({"config": {"format": "gguf"}, "rootfs": {"type": "rootfs", "diff_ids": [layer]}}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "digest": _digest(config), "size": len(config)},
            "layers": [{"mediaType": DOCKER_GGUF, "digest": layer, "size": len(weights)}],
        }
    ).encode()
    files = {f"blobs/{_digest(data).replace(':', '/')}": data for data in (weights, config)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in {**files, "manifest.json": manifest}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue(), _digest(manifest)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _asked_once(name: str, process: psutil.Popen, port: int, path: str, body: Mapping[str, object]) -> Gateway:
    """Return the gateway after a first answer, with which its engine has started."""
    gateway = Gateway(name=name, pid=process.pid, load=Load(port=port, path=path, body=body))
    gateway.ask({})
    return gateway
