"""The child that serves one model with llama-cpp-python's `Llama` class, one request after another.

`python -m dmrc.engines.llama_cpp_python.child LAUNCH`, a JSON object. A second request waits; it never cuts the first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from dmrc.background import begin
from dmrc.engines.llama_cpp_python.requests import RequestKind, UnsupportedRequestError, arguments
from dmrc.engines.llama_cpp_python.stream import ChunkDocument, Pieces
from dmrc.engines.parent_death import die_with_parent

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from dmrc.engines.llama_cpp_python.model import LoadedModel

_END: ChunkDocument = {}


class _Routes:
    """The handlers of one model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def of(self, kind: RequestKind) -> Callable[[Request], Awaitable[Response]]:
        """Return the handler for one kind of request."""
        from starlette.responses import JSONResponse

        async def endpoint(http: Request) -> Response:
            try:
                request = await http.json()
                given = arguments(kind, request)
                if kind == "embedding":
                    as_base64 = request.get("encoding_format") == "base64"
                    return JSONResponse(await self._run(lambda: self._model.embed(given, as_base64=as_base64)))
                if request.get("stream"):
                    with_usage = (request.get("stream_options") or {}).get("include_usage", False)
                    return await self._stream(kind, given, with_usage=with_usage)
                return await self._whole(kind, given, http)
            except (UnsupportedRequestError, ValueError) as error:
                return JSONResponse(_refusal(error), getattr(error, "status", 400))

        return endpoint

    async def _run(self, work: Callable[[], ChunkDocument]) -> ChunkDocument:
        return await asyncio.get_running_loop().run_in_executor(self._model.thread, work)

    async def _whole(self, kind: RequestKind, given: ChunkDocument, http: Request) -> Response:
        """Answer at once; when the caller goes away the computing ends, and the next one has its turn."""
        from starlette.responses import JSONResponse, Response

        cancelled = threading.Event()
        answering = self._run(lambda: self._model.answer(kind, given, cancelled))
        work = begin(answering, "an answer", expected=Exception)
        gone = begin(_disconnected(http), "the watch for a caller who hangs up")
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            cancelled.set()
            work.cancel()
            return Response(status_code=499)
        gone.cancel()
        return JSONResponse(work.result())

    async def _stream(self, kind: RequestKind, given: ChunkDocument, *, with_usage: bool) -> Response:
        """Answer in pieces. The first one is waited for before the status is sent, so that a refusal is one."""
        from starlette.responses import StreamingResponse

        loop, chunks = asyncio.get_running_loop(), asyncio.Queue[ChunkDocument]()
        cancelled = threading.Event()
        pieces = Pieces(kind, given, self._model.name, lambda it: loop.call_soon_threadsafe(chunks.put_nowait, it))

        def work() -> ChunkDocument:
            pieces.finish(self._model.answer(kind, given, cancelled, pieces.add), with_usage=with_usage)
            return _END

        working = begin(self._run(work), "an answer", expected=Exception)
        working.add_done_callback(lambda _: chunks.put_nowait(_END))
        try:
            first = await chunks.get()
            if first is _END:
                await working
        except BaseException:
            cancelled.set()
            raise
        return StreamingResponse(_events(first, chunks, working, cancelled), media_type="text/event-stream")


async def _events(
    first: ChunkDocument,
    chunks: asyncio.Queue[ChunkDocument],
    working: asyncio.Future[ChunkDocument],
    cancelled: threading.Event,
) -> AsyncIterator[bytes]:
    """Yield server-sent events; when the caller goes away the computing ends."""
    chunk = first
    try:
        while chunk is not _END:
            yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
            chunk = await chunks.get()
        await working
        yield b"data: [DONE]\n\n"
    except (ValueError, RuntimeError) as error:
        yield b"data: " + json.dumps(_refusal(error)).encode() + b"\n\n"
    finally:
        cancelled.set()
        working.cancel()


def create_app(model: LoadedModel) -> Starlette:
    """Return the application with the routes that the gateway asks for."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def health(_http: Request) -> Response:
        return JSONResponse({"status": "ok"})

    routes, handlers = [Route("/health", health)], _Routes(model)
    kinds: tuple[tuple[str, RequestKind], ...] = (
        ("chat/completions", "chat"),
        ("completions", "completion"),
        ("embeddings", "embedding"),
    )
    routes += [Route(f"/v1/{path}", handlers.of(kind), methods=["POST"]) for path, kind in kinds]
    return Starlette(routes=routes)


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _refusal(error: Exception) -> ChunkDocument:
    """Return an error in OpenAI's form, of the type that llama.cpp's own server gives it."""
    too_long = "exceed context window" in str(error) or "exceed batch size" in str(error)
    kind = "exceed_context_size_error" if too_long else getattr(error, "kind", "invalid_request_error")
    return {"error": {"code": getattr(error, "status", 400), "message": str(error), "type": kind}}


def main(text: str) -> None:
    """Load the model, then serve until SIGTERM."""
    import uvicorn

    os.umask(0o177)
    die_with_parent()
    from dmrc.engines.llama_cpp_python.model import LoadedModel

    launch = json.loads(text)
    try:
        model = LoadedModel(launch)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    uvicorn.run(create_app(model), uds=launch["socket"], log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(sys.argv[1])
