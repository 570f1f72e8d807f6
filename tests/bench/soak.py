"""Many requests through one daemon: does its memory stay where it is?

The first requests fill what is made once (connections, the database's cache, the allocator's pools); what comes after
them must leave nothing. One in ten is a stream, of one in fifty the caller goes away, one in a hundred is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from tests.bench.figure import Figure
from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.tiny_gguf import write_tiny_llama

REQUESTS = 10_000
WARM_UP = 1_000
CLIENTS = 8
MODEL = "bench/tiny"


def measure() -> list[Figure]:
    """Return how much the daemon's resident memory grew between the first thousand requests and the last."""
    with temporary_dmrc() as dmrc, tempfile.TemporaryDirectory() as directory:
        dmrc.ok("package", "--gguf", write_tiny_llama(Path(directory) / "tiny.gguf"), MODEL)
        dmrc.ok("configure", MODEL, "--keep-alive", "-1", "--", "--threads", "1")
        dmrc.ok("run", MODEL, "Hi")
        daemon = dmrc.daemon()
        sizes = asyncio.run(_ask_all(dmrc, daemon))
    growth = (max(sizes[1:]) - sizes[0]) / 1e6
    steps = " ".join(f"{size / 1e6:.0f}" for size in sizes)
    return [
        Figure(
            name=f"resident memory of the daemon, {WARM_UP} to {REQUESTS} requests",
            value=growth,
            unit="MB",
            bar=10,
            ours=f"{steps} MB, each thousand",
        )
    ]


async def _ask_all(dmrc: Dmrc, daemon: psutil.Process) -> list[int]:
    """Return the resident size after each thousand requests."""
    sizes: list[int] = []
    url = f"http://127.0.0.1:{dmrc.port}"
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client:
        for first in range(0, REQUESTS, WARM_UP):
            numbers = iter(range(first, first + WARM_UP))
            await asyncio.gather(*(_caller(client, numbers) for _ in range(CLIENTS)))
            sizes.append(daemon.memory_info().rss)
    return sizes


async def _caller(client: httpx.AsyncClient, numbers: Iterator[int]) -> None:
    for number in numbers:
        await _ask(client, number)


async def _ask(client: httpx.AsyncClient, number: int) -> None:
    model = "bench/none" if number % 100 == 7 else MODEL
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"ba be {number} " * 20}],
        "max_tokens": 8,
        "stream": number % 10 == 0,
    }
    if number % 50 == 3:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.002):
                await _answer(client, {**body, "max_tokens": 200})
        return
    status = await _answer(client, body)
    assert status == (404 if model != MODEL else 200), f"request {number}: {status}"


async def _answer(client: httpx.AsyncClient, body: dict[str, object]) -> int:
    return (await client.post("/v1/chat/completions", json=body)).status_code
