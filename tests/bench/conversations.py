"""How much of their prompts is computed again where conversations and services take turns at one real engine.

Needs a `llama-server` (DMRC_LLAMA_SERVER, or on PATH): all gateways start that one, and it is asked by itself too, with
the settings that it has by default. A prompt's tokens that were computed are what the answers' `timings` say.
"""

from __future__ import annotations

import http.client
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench import _go_peers
from tests.bench._gateways import BASELINE, OURS, Compared, Gateway, baseline, in_rounds
from tests.bench._load import Load
from tests.bench._servers import started
from tests.bench.figure import Figure, LeftOut
from tests.dmrc_command import temporary_dmrc
from tests.groups import LLAMA_SERVER
from tests.ports import free_port
from tests.real_model import smollm2_gguf
from tests.tiny_gguf import write_tiny_llama

_MODEL = "local/smollm2"
_ENGINE = "llama-server"
_GREETING = [{"role": "user", "content": "Good morning."}]
_BODY = {"temperature": 0, "max_tokens": 32, "model": _MODEL, "messages": _GREETING}
_CONVERSATIONS, _TURNS = 6, 3
_SERVICE_TURNS = 10
_RULE = "Rule {}: answer in the voice of an old sailor who has seen the {} sea, and name {} ships. "
_ONE_SLOT = ("--parallel", "1", "--ctx-size", "4096")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Asked:
    seconds: float
    computed: int
    cached: int


def measure() -> list[Figure]:
    """Measure six conversations in turn with the settings that each has by itself, then two services on one slot."""
    if LLAMA_SERVER is None:
        raise LeftOut("no llama-server on PATH or by DMRC_LLAMA_SERVER")
    engine = Path(LLAMA_SERVER)
    return [*_six(engine, smollm2_gguf()), *_two(engine)]


def _six(engine: Path, gguf: Path) -> list[Figure]:
    """Return the tokens and, without bars, the time; 5 % more tokens are what answers of other words may make."""
    what = "six conversations of three turns, in turn"
    with ExitStack() as stack:
        gateways = _dmrcs(stack, gguf, ())
        gateways += _go_peers.given(stack, engine, gguf, _BODY)
        gateways.append(stack.enter_context(_alone(engine, gguf)))
        found = in_rounds(gateways, _six_conversations, warm_up=False)
    seconds = {name: [one.seconds for one in each] for name, each in found.items()}
    return [
        *_tokens(what, found),
        *Compared(name=f"time: {what}", unit="s", bars={}).figures(seconds),
    ]


def _two(engine: Path) -> list[Figure]:
    """Return the tokens once, for they are counted: a model of random weights computes them in no time."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="dmrc-bench-"))
        gguf = write_tiny_llama(Path(directory) / "tiny.gguf", context_length=4096)
        gateways = _dmrcs(stack, gguf, ("--parallel", "1", "--context-size", "4096"))
        gateways.append(stack.enter_context(_alone(engine, gguf, *_ONE_SLOT)))
        found = in_rounds(gateways, _two_services, warm_up=False, rounds=1)
    return _tokens("two services of 1,400 tokens, ten times in turn on one slot", found, share=15)


def _tokens(what: str, found: dict[str, list[_Asked]], share: float | None = None) -> list[Figure]:
    """Return how many were computed, 5 % more than by the engine alone at most, and which share of all that is."""
    computed = {name: [float(one.computed) for one in each] for name, each in found.items()}
    ours = found[OURS]
    return [
        *Compared(name=f"tokens computed: {what}", unit="t", bars={_ENGINE: 1.05}).figures(computed),
        Figure(
            name="  of all tokens of these prompts",
            value=median(100 * one.computed / (one.computed + one.cached) for one in ours),
            unit="%",
            bar=share,
            ours=f"{median(one.cached for one in ours):.0f} from the cache",
            runs=len(ours),
        ),
    ]


def _six_conversations(gateway: Gateway) -> _Asked:
    talks = [[_system(6)] for _ in range(_CONVERSATIONS)]
    return _in_turn(gateway, talks, _TURNS)


def _two_services(gateway: Gateway) -> _Asked:
    """Ask short questions, each of which stands alone behind its service's long system message."""
    systems = [_system(16) for _ in range(2)]
    asked = [_ask(gateway, [systems[n % 2], _question(n)])[0] for n in range(2 * _SERVICE_TURNS)]
    return _sum(asked)


def _in_turn(gateway: Gateway, talks: Sequence[list[dict[str, str]]], turns: int) -> _Asked:
    asked = []
    for turn in range(turns):
        for talk in talks:
            talk.append(_question(turn))
            one, answer = _ask(gateway, talk)
            talk.append({"role": "assistant", "content": answer})
            asked.append(one)
    return _sum(asked)


def _system(rules: int) -> dict[str, str]:
    """Return a system message that none before begins like: what an earlier round left in a cache is of no use."""
    number = next(_numbers)
    text = "".join(_RULE.format(rule, ("north", "south", "cold", "warm")[rule % 4], rule + 2) for rule in range(rules))
    return {"role": "system", "content": f"{number} is the number of this crew. {text}"}


def _question(number: int) -> dict[str, str]:
    return {
        "role": "user",
        "content": f"Question {number}: which harbour do we sail to next, and what do we load there?",
    }


def _ask(gateway: Gateway, messages: Sequence[dict[str, str]]) -> tuple[_Asked, str]:
    load = gateway.load
    connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=300)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {load.key}"} if load.key else {})
    began = time.perf_counter()
    connection.request("POST", load.path, json.dumps({**load.body, "messages": list(messages)}), headers)
    answered = connection.getresponse()
    body = answered.read()
    seconds = time.perf_counter() - began
    connection.close()
    assert answered.status == 200, f"{gateway.name}: {body.decode(errors='replace')}"
    document = json.loads(body)
    timings = document["timings"]
    text: str = document["choices"][0]["message"]["content"]
    return _Asked(seconds, timings["prompt_n"], timings.get("cache_n", 0)), text


def _sum(asked: Sequence[_Asked]) -> _Asked:
    return _Asked(
        sum(one.seconds for one in asked), sum(one.computed for one in asked), sum(one.cached for one in asked)
    )


def _dmrcs(stack: ExitStack, gguf: Path, settings: Sequence[str]) -> list[Gateway]:
    builds: list[tuple[str, Path | None]] = [(OURS, None)]
    if (checkout := baseline()) is not None:
        builds.append((BASELINE, checkout))
    return [stack.enter_context(_dmrc(name, checkout, gguf, settings)) for name, checkout in builds]


@contextmanager
def _dmrc(name: str, checkout: Path | None, gguf: Path, settings: Sequence[str]) -> Iterator[Gateway]:
    with temporary_dmrc(checkout) as dmrc:
        dmrc.environment["DMRC_LLAMA_SERVER"] = str(LLAMA_SERVER)
        dmrc.ok("package", "--gguf", gguf, _MODEL)
        dmrc.ok("configure", _MODEL, "--keep-alive", "-1", *settings)
        load = Load(port=dmrc.port, path="/engines/v1/chat/completions", key="", body=_BODY)
        gateway = Gateway(name=name, pid=0, load=load)
        _ask(gateway, _GREETING)
        yield gateway


@contextmanager
def _alone(engine: Path, gguf: Path, *arguments: str) -> Iterator[Gateway]:
    port = free_port()
    argv = [str(engine), "--model", str(gguf), "--jinja", "--port", str(port), *arguments]
    with started(argv, port, "/health", {}) as process:
        yield Gateway(name=_ENGINE, pid=process.pid, load=Load(port=port, body=_BODY))
