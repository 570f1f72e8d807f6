"""Memory for the prompts of earlier requests: how much a runner gets, what it saves, and how it is given back."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.llama_cpp.memory import prompt_store
from dmrc.engines.local_model import LocalModel
from dmrc.engines.session import Session
from dmrc.errors import InsufficientMemoryError
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions
from dmrc.scheduler.budget import Budget, MemoryUse, with_prompt_cache
from dmrc.scheduler.description import describe_runner
from dmrc.scheduler.fitting import best_fit, needs
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.room import Room
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.states import RunnerState
from dmrc.scheduler.target import Target
from tests.groups import LLAMA_SERVER
from tests.polling import eventually
from tests.scheduler.conftest import Workshop, children, hold, play, until, use
from tests.scheduler.test_budget import target as llama_8b
from tests.synthetic_gguf import Shape, write_model

GIB = 1 << 30
MIB = 1 << 20
LLAMA_CPP = LlamaCpp(None)


class Forgetful(LlamaCpp):
    def keeps_prompts(self, model: LocalModel | None, options: ServingOptions) -> bool:
        return False


# 64 KiB of keys and values a token, and little to compute: a prompt of 1,000 tokens fills 64 MB in a second.
THICK = Shape(width=256, blocks=8, heads=8, heads_kv=8, head_width=256, inner=128, context_length=2048)


@pytest.mark.parametrize(
    ("free_gib", "cache_gib"),
    [
        (64, 8),  # never more than llama.cpp's own default
        (
            20,
            20 - 10.1,
        ),  # half of what is left is less than the contexts of the slots, which another one leaves room for
        (10.1, 0),
    ],
)
def test_the_cache_gets_half_of_what_is_left_or_the_contexts_and_never_more_than_8_gib(
    free_gib: float, cache_gib: float
) -> None:
    need = best_fit(LLAMA_CPP, llama_8b(), Room(round(free_gib * GIB)))
    assert need is not None

    given = with_prompt_cache(need, LLAMA_CPP, llama_8b(), round(free_gib * GIB))

    left = free_gib * GIB - need.memory.bare_bytes
    expected = max(left // 2, min(need.memory.kv_bytes, left - need.memory.bare_bytes), 0)
    assert given.memory.prompt_cache_bytes == pytest.approx(min(8 * GIB, expected))
    assert given.memory.total_bytes <= free_gib * GIB
    assert given.memory.total_bytes == need.memory.total_bytes + given.memory.prompt_cache_bytes


def test_no_cache_where_it_is_of_no_use_or_the_project_says_how_large() -> None:
    need = needs(LLAMA_CPP, llama_8b())[0]
    said = llama_8b(flags=("--cache-ram", "64"))

    assert with_prompt_cache(need, Forgetful(None), llama_8b(), 64 * GIB) == need
    assert with_prompt_cache(needs(LLAMA_CPP, said)[0], LLAMA_CPP, said, 64 * GIB).memory.prompt_cache_bytes == 64 * MIB
    vectors = replace(llama_8b(), options=replace(llama_8b().options, mode="embedding"))
    assert with_prompt_cache(need, LLAMA_CPP, vectors, 64 * GIB) == need


def test_what_a_cache_has_not_filled_counts_as_free_for_others() -> None:
    need = with_prompt_cache(needs(LLAMA_CPP, llama_8b())[0], LLAMA_CPP, llama_8b(), 64 * GIB)
    bare = need.memory.bare_bytes

    assert MemoryUse.of(need, bare - GIB, GIB) == MemoryUse(bare, GIB, 8 * GIB)
    assert MemoryUse.of(need, bare + 3 * GIB, GIB) == MemoryUse(bare + 3 * GIB, GIB, 5 * GIB)
    assert MemoryUse.of(need, bare + 9 * GIB, GIB) == MemoryUse(bare + 8 * GIB, GIB, 0)


def test_copies_of_a_sliding_window_are_taken_out_of_the_same_memory(tmp_path: Path) -> None:
    """They stay in the slots, 32 for each, where llama.cpp's limit of the cache does not count them."""
    shape = Shape(architecture="gemma3", blocks=6, heads_kv=1, head_width=64, sliding_window=512, context_length=8192)
    with write_model(tmp_path / "gemma.gguf", shape).open("rb") as stream:
        facts = GgufFacts.parse(stream, name="gemma")
    copy = 5 * 1024 * 64 * 2 * 2

    assert prompt_store(facts, 4, 4 * GIB) == (4096 - 32 * 4 * copy // MIB, 32)
    assert prompt_store(facts, 4, 80 * copy) == (40 * copy // MIB, 10)
    assert prompt_store(facts, 4, 0) == (0, 4)
    assert prompt_store(facts, 4, 4 * GIB, ["--swa-full"]) == (4096, 32)


@dataclass
class Conversation:
    """A conversation that always goes on in the same words."""

    number: int
    messages: list[dict[str, str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    async def turn(self, session: Session, tokens: int = 8) -> tuple[int, int]:
        """Ask once more; return the tokens of the prompt, and those of them that were computed."""
        words = " ".join(f"{word} {self.number}" for word in ("bada", "kiti", "momo", "susu", "vova", "zizi") * 6)
        self.messages.append({"role": "user", "content": f"{self.number} {words} {len(self.messages)}"})
        body = json.dumps({"model": "m", "messages": self.messages, "max_tokens": tokens, "temperature": 0}).encode()
        with closing(await session.post("/v1/chat/completions", {"content-type": "application/json"}, body)) as answer:
            document = json.loads(b"".join([chunk async for chunk in answer]))
        said, usage = document["choices"][0]["message"]["content"], document["usage"]
        self.answers.append(said)
        self.messages.append({"role": "assistant", "content": said})
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        return usage["prompt_tokens"], usage["prompt_tokens"] - cached


async def six_in_turn(session: Session) -> tuple[int, int]:
    """Six conversations of three turns, in turn; return the sums."""
    conversations = [Conversation(number) for number in range(6)]
    turns = [await one.turn(session) for _ in range(3) for one in conversations]
    return sum(total for total, _ in turns), sum(computed for _, computed in turns)


_DEFAULTS = """
import signal, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.kv_unified = sys.argv[1], [sys.argv[2]], True
params.n_parallel = int(sys.argv[3])
params.fit_params = False
server = xllamacpp.Server(params)
signal.pause()
"""


@contextmanager
def by_its_own_defaults(gguf: Path, directory: Path, binary: str | None, parallel: int = 4) -> Iterator[HttpSession]:
    """llama.cpp's server as it is started without dmrc: slots that share the context, and 8 GiB of cache."""
    socket = directory / "own.sock"
    argv = [sys.executable, "-c", _DEFAULTS, str(gguf), str(socket), str(parallel)]
    if binary is not None:
        argv = [binary, "--model", str(gguf), "--host", str(socket), "--offline", "--jinja"]
        argv += [] if parallel == 4 else ["--parallel", str(parallel)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            eventually(socket.exists, "it listens")
            yield HttpSession(UnixConnector(socket))
        finally:
            child.kill()


async def until_loaded(session: HttpSession) -> None:
    for _ in range(800):
        # Refused until it listens: its socket is there before.
        with suppress(ConnectionError), closing(await session.get("/health")) as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(0.05)
    pytest.fail("it never answers")


@pytest.mark.parametrize(
    "binary",
    [
        pytest.param(None, id="wheel", marks=pytest.mark.engine),
        pytest.param(LLAMA_SERVER, id="llama-server", marks=pytest.mark.llama_server),
    ],
)
def test_six_conversations_in_turn_compute_no_more_than_by_llama_cpps_own_defaults(
    workshop: Workshop, binary: str | None
) -> None:
    """Four slots hold four of them: the others come back from the cache, or are computed again from their beginning."""
    scheduler = workshop.scheduler(engine=LlamaCpp(binary))
    ours: list[tuple[int, int]] = []
    theirs: list[tuple[int, int]] = []

    async def story() -> None:
        async with scheduler.lease(workshop.target(1024, parallel=4)) as lease:
            ours.append(await six_in_turn(lease.session))
            counts = await lease.runner.counts_soon()
            shown = describe_runner(lease.runner, counts)
        total, computed = ours[0]
        assert (shown["prompt_tokens_computed"], shown["prompt_tokens_reused"]) == (computed, total - computed)
        assert shown["prompt_cache_bytes"] == 8 * GIB
        with by_its_own_defaults(workshop.gguf, workshop.directory, binary) as session:
            await until_loaded(session)
            theirs.append(await six_in_turn(session))
            await session.close()

    play(scheduler, story)

    (total, computed), (_, own) = ours[0], theirs[0]
    assert computed <= own
    assert computed < 0.6 * total


@pytest.mark.engine
def test_answers_at_temperature_0_stay_the_same_when_a_prompt_comes_back_from_the_cache(
    workshop: Workshop, smollm2: Path
) -> None:
    answers: dict[str, list[list[str]]] = {}

    def ask(name: str, turns: list[int]) -> None:
        scheduler = workshop.scheduler()

        async def story() -> None:
            conversations = [Conversation(number) for number in range(2)]
            async with scheduler.lease(workshop.target(1024, parallel=1, gguf=smollm2)) as lease:
                for number in turns:
                    await conversations[number].turn(lease.session)
            answers[name] = [one.answers for one in conversations]

        play(scheduler, story)

    ask("one after the other", [0, 0, 0, 1, 1, 1])
    ask("in turn", [0, 1, 0, 1, 0, 1])

    assert answers["in turn"] == answers["one after the other"]


@pytest.fixture(scope="module")
def thick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("thick") / "thick.gguf", THICK)


def thick_target(workshop: Workshop, thick: Path, context_size: int, keep_alive_seconds: float = 300.0) -> Target:
    with thick.open("rb") as stream:
        facts = GgufFacts.parse(stream, name="thick")
    base = workshop.target(context_size, parallel=1, keep_alive_seconds=keep_alive_seconds, gguf=thick)
    assert base.model is not None
    return replace(base, model=replace(base.model, facts=facts))


def cache_of(scheduler: Scheduler, context_size: int) -> int:
    (runner,) = (one for one in scheduler.runners() if one.target.context_size == context_size)
    return runner.need.memory.prompt_cache_bytes if runner.need else -1


@pytest.mark.engine
def test_a_new_runner_starts_at_once_in_what_a_busy_ones_cache_has_not_filled(workshop: Workshop) -> None:
    """The other one starts anew with a smaller cache when it is idle, so that the sum is within the limit again."""
    scheduler = workshop.scheduler(room_for=2.5, limits=Limits(window_seconds=60))
    limit = round(needs(LlamaCpp(None), workshop.target())[0].memory.total_bytes * 2.5)

    async def story() -> None:
        release, got = asyncio.Event(), list[Lease]()
        holder = asyncio.create_task(hold(scheduler, workshop.target(256), release, got))
        await until(lambda: bool(got), "the first has its slot")
        first = got[0].runner
        before = cache_of(scheduler, 256)
        assert before > 0

        await use(scheduler, workshop.target(512))

        assert first.state is RunnerState.READY
        assert cache_of(scheduler, 512) == 0
        release.set()
        await holder
        await until(lambda: len(scheduler.runners()) == 2 and first not in scheduler.runners(), "it starts anew")
        await until(lambda: all(one.state is RunnerState.READY for one in scheduler.runners()), "both are ready")
        assert 0 <= cache_of(scheduler, 256) < before
        assert sum(one.need.memory.total_bytes for one in scheduler.runners() if one.need) <= limit
        assert len(children()) == 2

    play(scheduler, story)


async def fill(scheduler: Scheduler, target: Target) -> None:
    """Ask for several long prompts, so that the cache of the runner holds as many as it has room for."""
    async with scheduler.lease(target) as lease:
        for number in range(4):
            body = json.dumps({"prompt": [40 + number, *[300] * 1000], "max_tokens": 1}).encode()
            asked = await lease.session.post("/v1/completions", {"content-type": "application/json"}, body)
            with closing(asked) as answer:
                assert answer.status == 200
                assert [chunk async for chunk in answer]
        space = cache_of(scheduler, target.context_size)
        await until(lambda: lease.runner.held.unfilled_bytes < space // 2, "the cache is filled")


@pytest.mark.engine
@pytest.mark.parametrize("keep_alive_seconds", [300.0, math.inf], ids=["idle", "pinned"])
def test_a_filled_cache_is_given_back_before_a_runner_has_to_go_or_a_load_is_refused(
    workshop: Workshop, thick: Path, keep_alive_seconds: float
) -> None:
    resident = thick_target(workshop, thick, 1024, keep_alive_seconds)
    other = thick_target(workshop, thick, 1280)
    both = sum(needs(LLAMA_CPP, one)[0].memory.bare_bytes for one in (resident, other))
    scheduler = workshop.scheduler(budget=Budget(limit_bytes=both + 20 * MIB))

    async def story() -> None:
        await fill(scheduler, resident)
        assert cache_of(scheduler, 1024) > 20 * MIB

        await use(scheduler, other)

        await until(lambda: len(scheduler.runners()) == 2, "both are there")
        await until(lambda: all(one.state is RunnerState.READY for one in scheduler.runners()), "both are ready")
        assert cache_of(scheduler, 1024) + cache_of(scheduler, 1280) <= 20 * MIB
        with pytest.raises(InsufficientMemoryError):
            await use(scheduler, thick_target(workshop, thick, 65536))

    play(scheduler, story)


@pytest.mark.engine
def test_a_full_cache_stays_within_the_estimate(workshop: Workshop, thick: Path) -> None:
    target = thick_target(workshop, thick, 1024)
    bare = needs(LlamaCpp(None), target)[0].memory.bare_bytes
    scheduler = workshop.scheduler(budget=Budget(limit_bytes=2 * bare))

    async def story() -> None:
        await fill(scheduler, target)
        (runner,) = scheduler.runners()
        assert runner.need is not None
        assert runner.process is not None
        resident, _ = runner.process.memory_bytes()
        assert resident <= 1.05 * runner.need.memory.total_bytes
        assert resident > bare + 0.5 * runner.need.memory.prompt_cache_bytes

    play(scheduler, story)
