"""A toy engine, as a stranger would write it: it serves a directory of safetensors by saying the names of its files."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from dmrc import hookimpl
from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.engine import Engine, Launch, launch_json
from dmrc.errors import RuntimeFlagError
from dmrc.project import ServingOptions


class ToyEngine(ChildEngine):
    name = program = "toy"
    formats = frozenset({"safetensors"})

    def check(self, options: ServingOptions, companions: Sequence[str] = ()) -> None:
        flag, *value = options.runtime_flags or ("--tensor-parallel-size", "1")
        if flag != "--tensor-parallel-size" or not "".join(value).isdigit():
            raise RuntimeFlagError(f"runtime flag '{flag}' is unknown to the toy", remedy="Remove it")

    def command(self, launch: Launch) -> list[str]:
        keeper = [sys.executable, "-m", "dmrc.engines.exec_with_parent_death"]
        return [*keeper, sys.executable, "-m", __name__, launch_json(launch)]


@hookimpl
def dmrc_register_engines() -> Sequence[Engine]:
    return [ToyEngine()]


if __name__ == "__main__":
    import fastapi
    import uvicorn

    launch, app = json.loads(sys.argv[1]), fastapi.FastAPI()
    WORDS = sorted(path.name for path in Path(launch["path"]).iterdir()) + launch.get("runtime_flags", [])

    @app.post("/v1/chat/completions")
    async def chat(asked: dict[str, Any]) -> Any:
        async def events(chunks: list[Any]) -> AsyncIterator[str]:
            for data in [*map(json.dumps, chunks), "[DONE]"]:
                yield f"data: {data}\n\n"
                await asyncio.sleep(0.01)

        said = [f" {word}"[not n :] for n, word in zip(range(asked.get("max_tokens", len(WORDS))), cycle(WORDS))]
        usage = {"prompt_tokens": 1, "completion_tokens": len(said), "total_tokens": 1 + len(said)}
        whole = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(said)}}
        parts: list[Any] = [*({"delta": {"content": word}} for word in said), {"delta": {}, "finish_reason": "stop"}]
        chunks = [{"choices": [{"index": 0, **one}]} for one in parts] + [{"choices": [], "usage": usage}]
        stream = fastapi.responses.StreamingResponse(events(chunks), media_type="text/event-stream")
        return stream if asked.get("stream") else {"choices": [whole], "usage": usage}

    app.get("/health")(lambda: {})
    uvicorn.run(app, uds=launch.get("socket"), port=launch.get("port", 0))
