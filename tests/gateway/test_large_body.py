"""What a request of 28 MB costs those whose streams go on meanwhile: a real daemon on this test's own event loop."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import sys
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from dmrc.gateway.daemon import SWITCH_SECONDS, Daemon
from dmrc.hooks.plugins import Plugins
from dmrc.models import Models
from dmrc.project import ServingOptions
from dmrc.settings import Settings
from dmrc.store import Store
from tests.dmrc_command import Dmrc
from tests.synthetic_engine import MODEL, SyntheticEngine

_MB = 10**6


def _body() -> bytes:
    """Return 28 MB: 150,000 messages, and one long word beside, for no more text than 16 MiB is taken."""
    messages = [{"role": "user", "content": "How many whales are there in this sea, please?"}] * 150_000
    short = json.dumps({"model": MODEL, "messages": messages}).encode()
    word = json.dumps({"role": "user", "content": "QUJD" * ((28 * _MB - len(short)) // 4)}).encode()
    return short.removesuffix(b"]}") + b"," + word + b"]}"


def _ask(port: int, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/chat/completions", body)
    answer = connection.getresponse()
    answer.read()
    return answer.status


async def _longest_step(work: Awaitable[int]) -> tuple[float, float]:
    """Return the longest step of the loop while `work` goes on, in seconds of its thread's processor time, and of time.

    The first counts what the loop itself did, and not what else this machine does at the same moment.
    """
    done = asyncio.ensure_future(work)
    steps, waits = [0.0], [0.0]
    while not done.done():
        used, began = time.thread_time(), time.perf_counter()
        await asyncio.sleep(0)
        steps.append(time.thread_time() - used)
        waits.append(time.perf_counter() - began)
    assert await done == 200
    return max(steps), max(waits)


def test_a_body_of_28_mb_holds_the_loop_for_no_more_than_50_ms(dmrc: Dmrc, gguf: Path) -> None:
    dmrc.ok("package", "--gguf", gguf, MODEL)
    settings = Settings.from_environment(dmrc.environment)
    settings.paths.create()
    small = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    large = _body()
    assert len(large) > 27.9 * _MB

    async def story() -> tuple[tuple[float, float], tuple[float, float]]:
        models, ready = Models(Store(settings.paths.store)), asyncio.Event()
        async with AsyncExitStack() as parts:
            daemon = Daemon(settings, models, {SyntheticEngine.name: SyntheticEngine()}, Plugins(()), parts)
            running = asyncio.create_task(daemon.run(ready.set))
            await ready.wait()
            await daemon.configurator.configure(MODEL, None, ServingOptions(engine=SyntheticEngine.name))
            await asyncio.to_thread(_ask, settings.port, small)  # which loads the model
            gc.freeze()  # a collection would look at all that the tests before this one have left

            idle = await _longest_step(asyncio.to_thread(_ask, settings.port, small))
            busy = await _longest_step(asyncio.to_thread(_ask, settings.port, large))

            daemon.stop()
            await running
        return idle, busy

    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        idle, busy = uvloop.run(story())
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()

    print(f"longest step in ms: idle {idle[0] * 1e3:.1f}, large {busy[0] * 1e3:.1f}")
    print(f"longest wait in ms: idle {idle[1] * 1e3:.1f}, large {busy[1] * 1e3:.1f}")
    assert busy[0] < idle[0] + 0.05
