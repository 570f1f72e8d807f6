"""A bridge to replicas that are none: a child that tells of them, and changes them, as a test asks it to.

`POST /told` with `{"slots": 2, "replicas": [...]}` changes them. A chat is answered by as many words as `max_tokens`
says, and breaks off before the word `cut`; `by` is who answers.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from dmrc import hookimpl
from dmrc.engines.child_engine import ChildEngine
from dmrc.engines.engine import Engine, Launch, launch_json


class ToyBridge(ChildEngine):
    name = program = "toy-bridge"
    formats = frozenset({"safetensors", "gguf"})
    has_replicas = True

    def command(self, launch: Launch) -> list[str]:
        keeper = [sys.executable, "-m", "dmrc.engines.exec_with_parent_death"]
        return [*keeper, sys.executable, "-m", __name__, launch_json(launch)]


def told(*names: str, slots: int) -> dict[str, Any]:
    """Return what it tells of ready replicas, each on a node of its own."""
    each = slots // max(1, len(names))
    replicas = [{"name": name, "node": f"box-{name}", "state": "ready", "slots": each, "in_use": 0} for name in names]
    return {"slots": slots, "replicas": replicas}


@hookimpl
def dmrc_register_engines() -> Sequence[Engine]:
    return [ToyBridge()]


if __name__ == "__main__":
    import fastapi
    import uvicorn

    launch, app = json.loads(sys.argv[1]), fastapi.FastAPI()
    now, changed, sick = [told("r1", slots=1)], [asyncio.Event()], list[bool]()

    @app.get("/replicas")
    async def replicas() -> Any:
        async def lines() -> AsyncIterator[str]:
            while True:
                news = changed[0]
                yield json.dumps(now[0]) + "\n"
                await news.wait()

        return fastapi.responses.StreamingResponse(lines(), media_type="application/x-ndjson")

    @app.post("/told")
    async def tell(document: dict[str, Any]) -> Any:
        sick[:] = [True] * document.pop("is_sick", False)
        now[0], news = document, changed[0]
        changed[0] = asyncio.Event()
        news.set()
        return {}

    @app.get("/replicas/{name}/log")
    async def log(name: str, lines: int) -> Any:
        if name not in [one["name"] for one in now[0]["replicas"]]:
            return fastapi.Response(status_code=404)
        return fastapi.responses.PlainTextResponse("".join(f"{name}: line {n}\n" for n in range(lines)))

    @app.post("/v1/chat/completions")
    async def chat(asked: dict[str, Any]) -> Any:
        async def events() -> AsyncIterator[str]:
            for number in range(asked.get("max_tokens", 3)):
                if number == asked.get("cut"):
                    raise RuntimeError("the replica has gone")
                yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': ' word'}}]})}\n\n"
                await asyncio.sleep(asked.get("pause", 0.01))
            yield "data: [DONE]\n\n"

        by = asked.get("by", "r1")
        headers = {"x-dmrc-replica": by, "x-dmrc-node": f"box-{by}", "x-dmrc-instead-of": asked.get("instead_of", "")}
        headers["x-dmrc-waited-ms"] = str(asked.get("waited_ms", 0))
        return fastapi.responses.StreamingResponse(events(), media_type="text/event-stream", headers=headers)

    app.get("/health")(lambda: fastapi.Response(status_code=503 if sick else 200))
    uvicorn.run(app, uds=launch["socket"], timeout_graceful_shutdown=30)
