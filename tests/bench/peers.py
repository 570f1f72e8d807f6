"""dmrc against other servers in Python: `python -m llama_cpp.server`, and litellm's proxy.

Where there is a `llama-server`, dmrc serves with it, so the benchmark `gateway` compares with it directly;
`cost`, `latency` and `conversations` compare with gateways in Go.
What the peers need is installed once per user, beside the model that the tests use.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import filelock

from tests import synthetic_engine
from tests.bench._load import Load, Loaded, run
from tests.bench._servers import started
from tests.bench.figure import Figure, LeftOut
from tests.bench.gateway import MESSAGES, THREADS, RealDmrc, in_turn, real_dmrc, story, tokens_per_second
from tests.cache import cache_directory
from tests.ports import free_port
from tests.real_model import smollm2_gguf
from tests.synthetic_engine import synthetic_dmrc

_PAIRS = 5
_REQUESTS = 100
_START_SECONDS = 180
_LITELLM_KEY = "sk-bench"
_LLAMA_CPP_SERVER = ("sse-starlette", "starlette-context", "pydantic-settings", "python-dotenv")
_ROOT = Path(__file__).parents[2]


def measure() -> list[Figure]:
    """Measure against each peer that can be had, and say which cannot."""
    figures: list[Figure] = []
    for peer in (_against_llama_cpp_server, _against_litellm):
        try:
            figures += peer()
        except LeftOut as why:
            print(f"peers: {why}", file=sys.stderr)
    if not figures:
        raise LeftOut("there is none of them")
    return figures


def _against_llama_cpp_server() -> list[Figure]:
    if importlib.util.find_spec("llama_cpp") is None:
        raise LeftOut("no llama_cpp.server: the extra dmrc[llama-cpp-python] is not installed")
    packages = cache_directory() / "llama_cpp_server"
    if not packages.exists():
        _install([sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(packages), *_LLAMA_CPP_SERVER])
    port = free_port()
    argv = [sys.executable, "-m", "llama_cpp.server", "--model", str(smollm2_gguf()), "--port", str(port)]
    argv += ["--n_ctx", "512", "--n_threads", str(THREADS)]
    with real_dmrc() as real, started(argv, port, "/v1/models", {"PYTHONPATH": str(packages)}):
        return [_one_stream(real, port), _four_clients(real, port)]


def _one_stream(real: RealDmrc, port: int) -> Figure:
    pairs = in_turn(
        lambda: tokens_per_second(real.story(real.recorded)),
        lambda: tokens_per_second(run(Load(port=port, body=story()))),
    )
    return _ratio("tokens/s against llama_cpp.server, 1 stream", pairs, bar=1.5)


def _four_clients(real: RealDmrc, port: int) -> Figure:
    """Ask for whole answers: of its streams, the second one cuts the first."""

    def rate(port: int, key: str) -> float:
        seen = run(Load(port=port, key=key, body=story(stream=False), connections=4, requests=2))
        assert not seen.failed
        return seen.tokens / seen.seconds

    pairs = in_turn(lambda: rate(real.dmrc.port, real.recorded), lambda: rate(port, "none"))
    return _ratio("tokens/s against llama_cpp.server, 4 clients, whole answers", pairs, bar=2)


def _ratio(name: str, pairs: list[tuple[float, float]], bar: float) -> Figure:
    return Figure(
        name=name,
        value=median(ours / theirs for ours, theirs in pairs),
        unit="×",
        bar=bar,
        better="higher",
        ours=f"{median(ours for ours, _ in pairs):.0f} tok/s",
        theirs=f"{median(theirs for _, theirs in pairs):.0f} tok/s",
        runs=len(pairs),
    )


def _against_litellm() -> list[Figure]:
    """Compare what each adds to the time of an engine that computes nothing, so that only the two are measured."""
    program = _litellm()
    upstream, port = free_port(), free_port()
    server = [sys.executable, "-m", "tests.synthetic_server", json.dumps({"port": upstream})]
    parent = {"DMRC_PARENT_PID": str(os.getpid()), "PYTHONPATH": str(_ROOT)}
    with synthetic_dmrc() as synthetic, started(server, upstream, "/health", parent):
        config = synthetic.dmrc.home / "litellm.yaml"
        parameters = {"model": f"openai/{synthetic_engine.MODEL}", "api_base": f"http://127.0.0.1:{upstream}/v1"}
        parameters["api_key"] = "none"
        config.write_text(
            json.dumps({"model_list": [{"model_name": synthetic_engine.MODEL, "litellm_params": parameters}]})
        )
        argv = [str(program), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
        settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": _LITELLM_KEY}
        with started(argv, port, "/health/liveliness", settings):

            def added(name: str, body: dict[str, object], read: Callable[[Loaded], list[float]]) -> Figure:
                asked = Load(body=body, requests=_REQUESTS)

                def ours() -> float:
                    through = run(replace(asked, port=synthetic.dmrc.port, key=synthetic.key))
                    return median(read(through)) - median(read(run(replace(asked, socket=str(synthetic.socket)))))

                def theirs() -> float:
                    through = run(replace(asked, port=port, key=_LITELLM_KEY))
                    assert not through.failed
                    return median(read(through)) - median(read(run(replace(asked, port=upstream))))

                return _added(name, in_turn(ours, theirs))

            body: dict[str, object] = {"model": synthetic_engine.MODEL, "messages": MESSAGES}
            stream = {**body, "stream": True, "max_tokens": 8}
            return [
                added("time added to a whole answer, of what litellm adds", body, lambda seen: seen.total_ms),
                added("time added to the first token, of what litellm adds", stream, lambda seen: seen.first_ms),
            ]


def _added(name: str, pairs: list[tuple[float, float]]) -> Figure:
    return Figure(
        name=name,
        value=median(ours / theirs for ours, theirs in pairs),
        unit="×",
        bar=1 / 3,
        ours=f"{median(ours for ours, _ in pairs):.2f} ms",
        theirs=f"{median(theirs for _, theirs in pairs):.2f} ms",
        runs=len(pairs),
    )


def _litellm() -> Path:
    """Return litellm's program, from an environment of its own: it brings a hundred packages along."""
    directory = cache_directory() / "litellm"
    with filelock.FileLock(directory.with_suffix(".lock")):
        if not (directory / "bin" / "litellm").exists():
            venv.create(directory, with_pip=True, clear=True)
            _install([str(directory / "bin" / "python"), "-m", "pip", "install", "litellm[proxy]"])
    return directory / "bin" / "litellm"


def _install(argv: Sequence[str]) -> None:
    done = subprocess.run([*argv, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["pip does not say why"])[-1]
        raise LeftOut(f"{argv[-1]} cannot be installed: {why}")
