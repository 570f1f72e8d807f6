"""What Ray costs: three llama.cpp servers on the nodes of a real cluster, against three that are runners of dmrc."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from tests.bench._load import Load, Loaded, run
from tests.bench.figure import Figure, LeftOut
from tests.bench.gateway import MESSAGES, in_turn
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.polling import eventually
from tests.ray_cluster import temporary_cluster
from tests.real_model import smollm2_gguf

_MODEL = "local/smollm2"
_SERVERS = 3
_STREAMS = 2
"""For each of them at the same time."""
_TOKENS = 48
_PAIRS = 5
_FIRSTS = 20
_ON_RAY = f"engine: ray, replicas: {_SERVERS}, "
_COMPOSE = """
name: {name}
services: {{app: {{image: none, models: [llm]}}}}
models:
  llm:
    model: {model}
    context_size: 512
    runtime_flags: ["--threads", "1", "--seed", "{seed}"]
    x-dmrc: {{{engine}parallel: {streams}, keep_alive: -1}}
"""


@dataclass(frozen=True)
class _Side:
    """Where as many streams go as there are slots, in groups of as many as one server has."""

    dmrc: Dmrc
    keys: list[str]
    """For each group its key."""

    def rate(self) -> float:
        """Return the tokens per second of all streams together."""
        with ThreadPoolExecutor() as pool:
            loads = [self._load(key, _TOKENS, connections=_STREAMS, requests=1) for key in self.keys]
            seen = list(pool.map(run, loads))
        assert not any(one.failed for one in seen)
        return sum(one.chunks for one in seen) / max(one.seconds for one in seen)

    def first_ms(self) -> float:
        """Return when the first token of a lone stream comes, p50."""
        seen: Loaded = run(self._load(self.keys[0], 4, requests=_FIRSTS))
        assert not seen.failed
        return median(seen.first_ms)

    def _load(self, key: str, tokens: int, *, requests: int, connections: int = 1) -> Load:
        body = {"model": "llm", "messages": MESSAGES, "max_tokens": tokens, "stream": True}
        body |= {"ignore_eos": True, "temperature": 0}
        return Load(port=self.dmrc.port, key=key, body=body, connections=connections, requests=requests)


def measure() -> list[Figure]:
    """Measure both in turn, in one run: the same model, threads, slots and streams."""
    if importlib.util.find_spec("ray") is None:
        raise LeftOut("ray is not installed: pip install -e plugins/dmrc-ray")
    with _both() as (on_ray, here):
        rates = in_turn(on_ray.rate, here.rate, _PAIRS)
        firsts = in_turn(on_ray.first_ms, here.first_ms, _PAIRS)
    return [
        Figure(
            name=f"tokens/s of {_SERVERS} servers on Ray against {_SERVERS} runners",
            value=median(ours / theirs for ours, theirs in rates),
            unit="×",
            bar=0.95,
            better="higher",
            ours=f"{median(ours for ours, _ in rates):.0f} tok/s",
            theirs=f"{median(theirs for _, theirs in rates):.0f} tok/s",
            runs=len(rates),
        ),
        Figure(
            name="first token on Ray later than without, 1 stream, p50",
            value=median(ours - theirs for ours, theirs in firsts),
            unit="ms",
            bar=10,
            ours=f"{median(ours for ours, _ in firsts):.1f} ms",
            theirs=f"{median(theirs for _, theirs in firsts):.1f} ms",
            runs=len(firsts),
        ),
    ]


@contextmanager
def _both() -> Iterator[tuple[_Side, _Side]]:
    """Yield the side on a cluster and the side without, each with its servers loaded and asked once."""
    with temporary_cluster(nodes=_SERVERS, processors=1) as cluster, temporary_dmrc() as dmrc:
        dmrc.environment["RAY_ADDRESS"] = cluster.address
        dmrc.ok("package", "--gguf", smollm2_gguf(), _MODEL)
        on_ray = _Side(dmrc, [_key(dmrc, "on-ray", _ON_RAY)] * _SERVERS)
        here = _Side(dmrc, [_key(dmrc, f"here-{seed}", "", seed) for seed in range(_SERVERS)])
        on_ray.first_ms()
        eventually(lambda: _ready(dmrc) == _SERVERS, "replicas", seconds=120)
        for side in (on_ray, here):
            side.rate()
        yield on_ray, here


def _key(dmrc: Dmrc, name: str, engine: str, seed: int = 0) -> str:
    """Return the key of a new project; of another seed is another runner."""
    directory = dmrc.home / name
    directory.mkdir()
    compose = _COMPOSE.format(name=name, model=_MODEL, engine=engine, streams=_STREAMS, seed=seed)
    (directory / "compose.yaml").write_text(compose)
    key: str = json.loads(dmrc.ok("env", "app", "--format", "json", cwd=directory))["OPENAI_API_KEY"]
    return key


def _ready(dmrc: Dmrc) -> int:
    runners = json.loads(dmrc.ok("ps", "--json"))
    return sum(replica["state"] == "ready" for runner in runners for replica in runner["replicas"])
