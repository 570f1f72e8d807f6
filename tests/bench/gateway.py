"""What the gateway costs against the engine's own socket, and what its record costs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from tests.bench._load import Load, Loaded, run
from tests.bench.figure import Figure
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.processes import engines_of
from tests.real_model import smollm2_gguf

MODEL = "local/smollm2:135M-Q4_1"
MESSAGES = [{"role": "user", "content": "Tell me a long story about a whale and a ship."}]
_PAIRS = 5
TOKENS = 96
_FIRSTS = 20
_COMPOSE = """
name: {name}
x-dmrc: {{capture: {capture}}}
services: {{app: {{image: none, models: [llm]}}}}
models:
  llm:
    model: "{model}"
    context_size: 512
    runtime_flags: ["--threads", "{threads}"]
    x-dmrc: {{parallel: 8, keep_alive: -1}}
"""
THREADS = psutil.cpu_count(logical=False) or 1
"""What llama.cpp takes by default, said so that its peers can be told the same."""


def story(tokens: int = TOKENS, *, stream: bool = True) -> dict[str, object]:
    """Return a request for so many tokens."""
    body: dict[str, object] = {"model": MODEL, "messages": MESSAGES, "max_tokens": tokens, "stream": stream}
    return body | {"ignore_eos": True, "temperature": 0}


@dataclass(frozen=True)
class RealDmrc:
    """A dmrc with the real engine, and two projects that share one runner: one is recorded, one is not."""

    dmrc: Dmrc
    recorded: str
    unrecorded: str

    def story(self, key: str | None, *, streams: int = 1, tokens: int = TOKENS, requests: int = 1) -> Loaded:
        """Ask for a story through the gateway with a key, or on the engine's own socket without."""
        body = story(tokens)
        if key is None:
            return run(Load(socket=str(self.socket()), body=body, connections=streams, requests=requests))
        return run(Load(port=self.dmrc.port, key=key, body=body, connections=streams, requests=requests))

    def socket(self) -> Path:
        (found,) = (self.dmrc.home / "run").glob("runner-*.sock")
        return found

    def child(self) -> psutil.Process:
        (child,) = engines_of(psutil.Process(daemon_pid(self.dmrc)), recursive=False)
        return child


@contextmanager
def real_dmrc() -> Iterator[RealDmrc]:
    """Yield it with the model loaded and asked once."""
    with temporary_dmrc() as dmrc:
        dmrc.ok("package", "--gguf", smollm2_gguf(), MODEL)
        keys = []
        for name, capture in (("recorded", "full"), ("unrecorded", "off")):
            directory = dmrc.home / name
            directory.mkdir()
            compose = _COMPOSE.format(name=name, capture=capture, model=MODEL, threads=THREADS)
            (directory / "compose.yaml").write_text(compose)
            keys.append(json.loads(dmrc.ok("env", "app", "--format", "json", cwd=directory))["OPENAI_API_KEY"])
        real = RealDmrc(dmrc, *keys)
        real.story(real.recorded, streams=8)
        yield real


def daemon_pid(dmrc: Dmrc) -> int:
    pid: int = json.loads(dmrc.ok("status", "--json"))["pid"]
    return pid


def measure() -> list[Figure]:
    """Measure against the same engine, asked directly."""
    with real_dmrc() as real:
        figures = [_throughput(real, streams) for streams in (1, 4, 8)]
        return [*figures, _first_token(real), _capture_cost(real), _cold_request(real)]


def in_turn(ours: Callable[[], float], theirs: Callable[[], float], pairs: int = _PAIRS) -> list[tuple[float, float]]:
    """Return pairs of measurements; who goes first changes from pair to pair."""
    measured = []
    for number in range(pairs):
        if number % 2:
            other = theirs()
            measured.append((ours(), other))
        else:
            measured.append((ours(), theirs()))
    return measured


def tokens_per_second(loaded: Loaded) -> float:
    """Return the rate of all streams together."""
    assert not loaded.failed, f"{loaded.failed} requests failed"
    return loaded.chunks / loaded.seconds


def _throughput(real: RealDmrc, streams: int) -> Figure:
    pairs = in_turn(
        lambda: tokens_per_second(real.story(real.recorded, streams=streams)),
        lambda: tokens_per_second(real.story(None, streams=streams)),
    )
    return Figure(
        name=f"tokens/s through the gateway against the engine, {streams} streams",
        value=median(ours / theirs for ours, theirs in pairs),
        unit="×",
        bar=0.97,
        better="higher",
        ours=f"{median(ours for ours, _ in pairs):.0f} tok/s",
        theirs=f"{median(theirs for _, theirs in pairs):.0f} tok/s",
        runs=_PAIRS,
    )


def _first_token(real: RealDmrc) -> Figure:
    def first(key: str | None) -> float:
        return median(real.story(key, tokens=4, requests=_FIRSTS).first_ms)

    pairs = in_turn(lambda: first(real.recorded), lambda: first(None))
    return Figure(
        name="first token later than the engine's, 1 stream, p50",
        value=median(ours - theirs for ours, theirs in pairs),
        unit="ms",
        bar=2,
        ours=f"{median(ours for ours, _ in pairs):.1f} ms",
        theirs=f"{median(theirs for _, theirs in pairs):.1f} ms",
        runs=_PAIRS,
    )


def _capture_cost(real: RealDmrc) -> Figure:
    pairs = in_turn(
        lambda: tokens_per_second(real.story(real.recorded, streams=8)),
        lambda: tokens_per_second(real.story(real.unrecorded, streams=8)),
    )
    return Figure(
        name="tokens/s lost by capture, 8 streams",
        value=median((1 - on / off) * 100 for on, off in pairs),
        unit="%",
        bar=2,
        ours=f"{median(on for on, _ in pairs):.0f} tok/s",
        theirs=f"{median(off for _, off in pairs):.0f} tok/s (off)",
        runs=_PAIRS,
    )


def _cold_request(real: RealDmrc) -> Figure:
    """Compare a request to a stopped runner with the same child, started by hand until it says that it is healthy."""
    command = real.child().cmdline()
    own = real.dmrc.home / "own.sock"
    command = [word.replace(str(real.socket()), str(own)) for word in command]

    def cold() -> float:
        real.dmrc.ok("unload", "--all")
        return median(real.story(real.recorded, tokens=1).total_ms)

    def start() -> float:
        began = time.perf_counter()
        environment = {**real.dmrc.environment, "DMRC_PARENT_PID": str(os.getpid())}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            eventually(lambda: _is_healthy(own), "healthy engine")
            took = (time.perf_counter() - began) * 1000
            child.terminate()
        own.unlink(missing_ok=True)
        return took

    pairs = in_turn(cold, start)
    return Figure(
        name="cold request beyond the engine's own start",
        value=median(ours - theirs for ours, theirs in pairs),
        unit="ms",
        bar=150,
        ours=f"{median(ours for ours, _ in pairs):.0f} ms",
        theirs=f"{median(theirs for _, theirs in pairs):.0f} ms",
        runs=_PAIRS,
    )


def _is_healthy(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(100)
        except OSError:
            return False
