"""A scheduler over the real engine, and targets of the tiny model."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from dmrc.engines.engine import Engine
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import LocalModel
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions
from dmrc.scheduler.budget import Budget
from dmrc.scheduler.fitting import needs
from dmrc.scheduler.lease import Lease
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.target import Target
from tests.processes import command_of
from tests.tiny_gguf import write_tiny_llama

_TEST_SECONDS = 60


class Workshop:
    """Makes targets and schedulers in one short directory, as a socket's name must be short."""

    def __init__(self, directory: Path, gguf: Path) -> None:
        self.directory = directory
        self.gguf = gguf

    def target(
        self,
        context_size: int = 256,
        *,
        parallel: int | None = 1,
        keep_alive_seconds: float = 300.0,
        gguf: Path | None = None,
    ) -> Target:
        """Return the tiny model with a configuration; `gguf` replaces its file, but not what is known of it."""
        with self.gguf.open("rb") as stream:
            facts = GgufFacts.parse(stream, name="tiny")
        return Target(
            reference="docker.io/local/tiny:latest",
            server="llama-server",
            digest="sha256:" + "1" * 64,
            model=LocalModel(path=gguf or self.gguf, facts=facts),
            options=ServingOptions(
                mode="completion",
                context_size=context_size,
                parallel=parallel,
                keep_alive_seconds=keep_alive_seconds,
            ),
        )

    def scheduler(
        self,
        *,
        room_for: float | None = None,
        limits: Limits | None = None,
        engine: Engine | None = None,
        budget: Budget | None = None,
    ) -> Scheduler:
        """Return a scheduler with memory for so many runners of the default target; None is enough for all."""
        one = needs(LlamaCpp(None), self.target())[0].memory.total_bytes
        budget = budget or Budget(limit_bytes=round(one * room_for) if room_for is not None else 1 << 40)
        for name in ("run", "logs"):
            (self.directory / name).mkdir(exist_ok=True)
        return Scheduler(
            {"llama.cpp": engine or LlamaCpp(None)},
            self.directory / "run",
            self.directory / "logs",
            budget,
            limits or Limits(),
        )


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf", context_length=4096)


@pytest.fixture
def workshop(tiny_gguf: Path) -> Iterator[Workshop]:
    directory = Path(tempfile.mkdtemp(prefix="dmrc-"))
    yield Workshop(directory, tiny_gguf)
    shutil.rmtree(directory)


def play(scheduler: Scheduler, story: Callable[[], Awaitable[None]]) -> None:
    """Run a story on an event loop of its own and close the scheduler; a task whose end nobody saw fails the test."""
    complaints: list[dict[str, object]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        try:
            await asyncio.wait_for(story(), _TEST_SECONDS)
        finally:
            await scheduler.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        gc.collect()

    asyncio.run(main())
    assert not complaints


async def until(claim: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until a claim is true."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)


async def ask(lease: Lease, tokens: int = 4) -> int:
    """Ask a runner for some tokens, and return the status."""
    body = json.dumps({"prompt": "ba be", "max_tokens": tokens}).encode()
    with closing(await lease.session.post("/v1/completions", {"content-type": "application/json"}, body)) as answer:
        async for _ in answer:
            pass
        return answer.status


async def use(scheduler: Scheduler, target: Target) -> str:
    """Ask for a few tokens and return the key of the runner that gave them."""
    async with scheduler.lease(target) as lease:
        assert await ask(lease) == 200
        return lease.runner.key


async def hold(scheduler: Scheduler, target: Target, release: asyncio.Event, got: list[Lease]) -> None:
    """Hold a lease until the event."""
    async with scheduler.lease(target) as lease:
        got.append(lease)
        await release.wait()


def children() -> list[psutil.Process]:
    """Return the engine children that live."""
    return [child for child in psutil.Process().children() if "xllamacpp_child" in command_of(child)]
