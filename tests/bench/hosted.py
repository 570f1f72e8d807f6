"""What the way by ssh costs: the same runner asked by its own machine's gateway, and by another machine's, in turn.

Both are this machine, joined by a real sshd on loopback, so what is measured is processes and encryption, no network.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import time
from dataclasses import dataclass

import psutil
import yaml

from dmrc import daemon_lock
from tests.bench.figure import Figure, LeftOut
from tests.real_model import smollm2_gguf
from tests.ssh_host import HOST, SSHD, SshHost, two_machines

MODEL = "local/smollm2"
TOKENS = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """One stream."""

    first_ms: float
    tokens_per_second: float


def ask(port: int, key: str | None, prompt: str) -> Asked:
    """Ask for a stream of `TOKENS` tokens, and measure."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = {
        "model": MODEL,
        "stream": True,
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    began = time.perf_counter()
    connection.request("POST", "/engines/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    times = [time.perf_counter() for line in answer if b'"content":"' in line]
    connection.close()
    return Asked((times[0] - began) * 1000, (len(times) - 1) / (times[-1] - times[0]))


def hosted_key(box: SshHost) -> str:
    """Have a project here use the model there, and return the key of its service."""
    directory = box.here.home / "bench"
    directory.mkdir()
    model = {"model": MODEL, "x-dmrc": {"host": HOST, "parallel": 1}}
    document = {
        "name": "bench",
        "services": {"web": {"image": "busybox", "models": ["llm"]}},
        "models": {"llm": model},
    }
    (directory / "compose.yaml").write_text(yaml.safe_dump(document))
    box.here.ok("exec", "web", "--", "true", cwd=directory)
    key: str = json.loads((box.here.home / "projects" / "bench" / "keys.json").read_bytes())["web"]
    return key


def measure() -> list[Figure]:
    """Return what asking by way of ssh costs, of pairs; `DMRC_BENCH_PAIRS` says how many."""
    pairs = int(os.environ.get("DMRC_BENCH_PAIRS", "40"))
    if SSHD is None:
        raise LeftOut("no sshd")
    with two_machines() as box:
        box.there.ok("package", "--gguf", smollm2_gguf(), MODEL)
        box.there.ok("configure", "set", MODEL, "--parallel", "1")
        key = hosted_key(box)
        own: list[Asked] = []
        hosted: list[Asked] = []
        seconds = 0.0
        for number in range(-2, pairs):
            prompts = [f"{number}{way}: tell me of the sea, and of ships, in many words." for way in "ab"]
            ways = [(own, box.there.port, None), (hosted, box.here.port, key)]
            for (found, port, bearer), prompt in zip(ways if number % 2 else ways[::-1], prompts, strict=True):
                before = processor_seconds(box)
                asked = ask(port, bearer, prompt)
                if number >= 0:  # the first two warm both ways up
                    found.append(asked)
                    seconds += processor_seconds(box) - before if found is hosted else 0.0
        assert len(json.loads(box.there.ok("ps", "--json"))) == 1, "both must have asked one runner"
    return _figures(own, hosted, seconds)


def processor_seconds(box: SshHost) -> float:
    """Return what only the way by ssh takes: the daemon here, ssh, and sshd with what it started."""
    ours = [*_daemon(box), *box.clients(), *box.sessions()]
    times = [one.cpu_times() for one in ours]
    return sum(one.user + one.system for one in times)


def _daemon(box: SshHost) -> list[psutil.Process]:
    found = daemon_lock.holder(box.here.home / "daemon.lock")
    return [psutil.Process(found)] if found else []


def _figures(own: list[Asked], hosted: list[Asked], seconds: float) -> list[Figure]:
    def of(found: list[Asked]) -> str:
        first = statistics.median(one.first_ms for one in found)
        return f"{first:.1f} ms, {statistics.median(one.tokens_per_second for one in found):.1f} tokens/s"

    first = [there.first_ms - here.first_ms for here, there in zip(own, hosted, strict=True)]
    speed = [there.tokens_per_second / here.tokens_per_second for here, there in zip(own, hosted, strict=True)]
    microseconds, runs = 1e6 * seconds / (TOKENS * len(hosted)), len(hosted)
    return [
        Figure(
            name="first token by way of ssh: later by",
            value=statistics.median(first),
            unit="ms",
            ours=of(hosted),
            theirs=of(own),
            runs=runs,
        ),
        Figure(
            name="tokens/s by way of ssh against the machine's own",
            value=statistics.median(speed),
            unit="×",
            better="higher",
            runs=runs,
        ),
        Figure(name="processor time of daemon, ssh and sshd per token", value=microseconds, unit="µs", runs=runs),
    ]
