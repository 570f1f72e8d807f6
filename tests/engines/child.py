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

import httpx

from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.engine import Launch
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import Companion, Companions, LocalModel
from dmrc.engines.process import EngineProcess
from dmrc.gguf import GgufFacts
from dmrc.project import Mode, ServingOptions

Result = TypeVar("Result")

ANY_FACTS = GgufFacts(
    architecture="llama",
    name="any",
    quantization="Q8_0",
    parameters=0,
    tensor_bytes=0,
    tensor_count=0,
    context_length=None,
    block_count=0,
    embedding_length=0,
    head_count=0,
    head_counts_kv=(),
    key_length=0,
    value_length=0,
    sliding_window=None,
    vocabulary_size=0,
    feed_forward_length=0,
    pooling_type=None,
    chat_template=None,
    split_count=1,
    metadata={},
)
"""What the header of a file may say where nobody asks."""


@dataclass
class Child:
    """A child that is ready."""

    process: EngineProcess
    launch: Launch
    client: httpx.AsyncClient

    async def until_sigterm_is_handled(self) -> None:
        """Wait for the moment after readiness in which the child's main thread goes on."""
        status = Path(f"/proc/{self.process.pid}/status")
        while status.exists() and not _caught(status.read_text()) >> (signal.SIGTERM - 1) & 1:
            assert self.process.exit_code is None
            await asyncio.sleep(0.01)

    async def get(self, path: str) -> tuple[int, str]:
        answer = await self.client.get(path)
        return answer.status_code, answer.text

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        answer = await self.client.post(path, json=body)
        return answer.status_code, answer.json()

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[str]:
        async with self.client.stream("POST", path, json={**body, "stream": True}) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield line[6:].strip()


def _caught(status: str) -> int:
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return int(mask, 16)


def facts_in(path: Path) -> GgufFacts | None:
    """Return what the header says of a file that is one."""
    if not path.is_file() or path.read_bytes()[:4] != b"GGUF":
        return None
    with path.open("rb") as stream:
        return GgufFacts.parse(stream, name=path.name)


def local_model(
    gguf: Path, mmproj: Path | None = None, loras: tuple[Path, ...] = (), draft: Path | None = None, **more: Any
) -> LocalModel:
    """Return a model with files beside it; of those only the paths count."""
    companions = Companions(
        mmproj=Companion(mmproj, ANY_FACTS) if mmproj else None,
        loras=tuple(Companion(lora, ANY_FACTS) for lora in loras),
        draft=Companion(draft, ANY_FACTS) if draft else None,
    )
    return LocalModel(path=gguf, facts=facts_in(gguf) or ANY_FACTS, companions=companions, **more)


def launch_in(directory: Path, **changes: Any) -> Launch:
    """Return a launch; `changes` are fields of a model's files, of its options, or of the launch itself."""
    files = {
        name: changes.pop(name) for name in ("gguf", "mmproj", "loras", "draft", "chat_template") if name in changes
    }
    values = {"name": "ai/tiny:latest", "parallel": 1, "socket": directory / "e.sock", "log": directory / "e.log"}
    values |= {name: changes.pop(name) for name in [*values, "prompt_cache_bytes"] if name in changes}
    options = ServingOptions(**{"context_size": 256, **changes})
    return Launch(model=local_model(**files) if files else None, options=options, **values)


def configured(*flags: str, mode: Mode | None = None) -> ServingOptions:
    return ServingOptions(mode=mode, runtime_flags=flags)


@asynccontextmanager
async def started(launch: Launch, engine: ChildEngine | None = None) -> AsyncIterator[EngineProcess]:
    server = await (engine or LlamaCpp(None)).start(launch)
    process = server.process
    assert process is not None
    try:
        yield process
    finally:
        await process.stop()
        await asyncio.to_thread(process._log.wait_end, 10)  # its last lines are in the file then


def real_child(directory: Path, use: Callable[[Child], Awaitable[Result]], **changes: Any) -> Result:
    """Start a child of xllamacpp, wait until it is ready, and return what `use` made of it."""

    async def run() -> Result:
        launch = launch_in(directory, **changes)
        async with started(launch) as process:
            await process.wait_ready()
            limits = httpx.Limits(max_keepalive_connections=0)
            transport = httpx.AsyncHTTPTransport(uds=str(launch.socket), limits=limits)
            async with httpx.AsyncClient(transport=transport, base_url="http://runner", timeout=None) as client:
                return await use(Child(process, launch, client))

    return asyncio.run(run())


def deltas(events: list[str]) -> str:
    """Return the text of a chat's stream."""
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
