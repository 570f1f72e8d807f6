"""A real engine child for a test: started, used by an async function, and stopped whatever happens."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from dmrc.engines.engine import ChildEngine, Launch, Mode, RunnerConfiguration
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.process import EngineProcess

Result = TypeVar("Result")


@dataclass
class Child:
    """A child that is ready."""

    process: EngineProcess
    launch: Launch
    session: aiohttp.ClientSession

    async def until_sigterm_is_handled(self) -> None:
        """Wait for the moment after readiness in which the child's main thread goes on."""
        status = Path(f"/proc/{self.process.pid}/status")
        while status.exists() and not _caught(status.read_text()) >> (signal.SIGTERM - 1) & 1:
            assert self.process.exit_code is None
            await asyncio.sleep(0.01)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"http://runner{path}") as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"http://runner{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[str]:
        async with self.session.post(f"http://runner{path}", json={**body, "stream": True}) as answer:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield line[6:].decode().strip()


def _caught(status: str) -> int:
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return int(mask, 16)


def launch_in(directory: Path, **changes: Any) -> Launch:
    values = {"name": "ai/tiny:latest", "context_size": 256, "parallel": 1}
    values |= {"socket": directory / "e.sock", "log": directory / "e.log"}
    return Launch(**{**values, **changes})


def configured(*flags: str, mode: Mode = "completion") -> RunnerConfiguration:
    return RunnerConfiguration(engine="any", mode=mode, runtime_flags=flags)


@asynccontextmanager
async def started(launch: Launch, engine: ChildEngine | None = None) -> AsyncIterator[EngineProcess]:
    process = await EngineProcess.start(engine or LlamaCpp(None), launch)
    try:
        yield process
    finally:
        await process.stop()


def real_child(directory: Path, use: Callable[[Child], Awaitable[Result]], **changes: Any) -> Result:
    """Start a child of xllamacpp, wait until it is ready, and return what `use` made of it."""

    async def run() -> Result:
        launch = launch_in(directory, **changes)
        async with started(launch) as process:
            await process.wait_ready()
            connector = aiohttp.UnixConnector(path=str(launch.socket), force_close=True)
            async with aiohttp.ClientSession(connector=connector) as session:
                return await use(Child(process, launch, session))

    return asyncio.run(run())


def deltas(events: list[str]) -> str:
    """Return the text of a chat's stream."""
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
