"""Five hundred requests at once on two slots: in line, and through the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest

from dmrc.errors import BusyError, DmrcError
from dmrc.scheduler.limits import Limits
from dmrc.scheduler.target import Target
from tests.dmrc_command import Dmrc
from tests.scheduler.conftest import Workshop, ask, play, until
from tests.tiny_gguf import write_tiny_llama

pytestmark = pytest.mark.engine

REQUESTS = 500


def test_in_line_they_keep_their_order_and_those_beyond_its_end_are_told_when_to_come_back(workshop: Workshop) -> None:
    scheduler = workshop.scheduler()
    order: list[int] = []
    refused: dict[int, BusyError] = {}

    async def request(number: int, target: Target) -> None:
        try:
            async with scheduler.lease(target) as lease:
                order.append(number)
                assert await ask(lease) == 200
        except BusyError as error:
            refused[number] = error

    async def story() -> None:
        target = workshop.target(parallel=2)
        await asyncio.gather(*(request(number, target) for number in range(REQUESTS)))

        assert order == list(range(256))
        assert list(refused) == list(range(256, REQUESTS))
        assert all(error.retry_after_seconds > 0 for error in refused.values())
        (runner,) = scheduler.runners()
        assert (runner.in_use, runner.waiting) == (0, 0)

    play(scheduler, story)


def test_through_the_gateway_each_is_answered_or_told_when_to_come_back(dmrc: Dmrc, tmp_path: Path) -> None:
    gguf = write_tiny_llama(tmp_path / "tiny.gguf")
    dmrc.ok("package", "--gguf", gguf, "me/tiny")
    dmrc.ok("configure", "me/tiny", "--parallel", "2", "--", "--threads", "1")
    dmrc.ok("run", "me/tiny", "Hi")
    daemon = dmrc.daemon()
    before = daemon.memory_info().rss

    answers = asyncio.run(asyncio.wait_for(_flood(dmrc), 200))

    counts = Counter(status for status, _, _ in answers)
    assert counts.keys() <= {200, 503}
    assert counts[200] >= 256
    assert all(retry_after is not None for status, retry_after, _ in answers if status == 503)
    assert all(json.loads(text)["usage"]["completion_tokens"] == 4 for status, _, text in answers if status == 200)
    assert daemon.memory_info().rss - before < 100 << 20
    (runner,) = json.loads(dmrc.ok("ps", "--json"))
    assert (runner["in_use"], runner["waiting"]) == (0, 0)


async def _flood(dmrc: Dmrc) -> list[tuple[int, str | None, str]]:
    body = {"model": "me/tiny", "prompt": "ba be " * 50, "max_tokens": 4}
    url, limits = f"http://127.0.0.1:{dmrc.port}", httpx.Limits(max_connections=None)

    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=None, trust_env=False) as client:

        async def request() -> tuple[int, str | None, str]:
            answer = await client.post("/v1/completions", json=body)
            return answer.status_code, answer.headers.get("retry-after"), answer.text

        return await asyncio.gather(*(request() for _ in range(REQUESTS)))


def test_in_a_storm_nobody_is_left_waiting_and_nothing_is_left_behind(workshop: Workshop) -> None:
    """Callers that go away at any moment, runners that are unloaded and killed, loads that nobody waits for."""
    scheduler = workshop.scheduler(room_for=1.6, limits=Limits(window_seconds=0.2, queue=8))
    chance = random.Random(7)
    targets = [workshop.target(256), workshop.target(512, keep_alive_seconds=0), workshop.target(1024, parallel=2)]
    outcomes: Counter[str] = Counter()

    async def client(deadline: float) -> None:
        while time.monotonic() < deadline or not outcomes["200"]:  # a busy machine needs longer for the first answer
            try:
                patience, target = chance.choice((0.01, 0.1, 30)), chance.choice(targets)
                async with asyncio.timeout(patience), scheduler.lease(target) as lease:
                    outcomes[str(await ask(lease))] += 1
            except (TimeoutError, DmrcError, OSError) as error:
                outcomes[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    async def weather(deadline: float) -> None:
        while time.monotonic() < deadline:
            await asyncio.sleep(chance.random())
            runner = chance.choice(scheduler.runners() or [None])
            if runner is not None and chance.random() < 0.5:
                scheduler.release({runner.key})
            elif runner is not None and runner.process is not None and runner.process.exit_code is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(runner.process.pid).kill()

    async def story() -> None:
        deadline = time.monotonic() + 8
        await asyncio.gather(weather(deadline), *(client(deadline) for _ in range(12)))

        assert outcomes["200"] > 0
        # The slot of one who has just hung up is free when its engine has been asked.
        await until(
            lambda: all((runner.in_use, runner.waiting) == (0, 0) for runner in scheduler.runners()),
            "all slots are free",
        )

    play(scheduler, story)
