"""The child that serves one model with llama-cpp-python's `Llama` class, one request after another.

`python -m dmrc.engines.llama_cpp_python_child LAUNCH`, a JSON object. A second request waits; it never cuts the first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmrc.engines.flags import parse
from dmrc.engines.llama_cpp_python import LOAD_FLAGS, REQUEST_FLAGS
from dmrc.engines.parent import die_with_parent

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Document = dict[str, object]
"""A JSON object."""

# What `Llama` takes of an OpenAI request; the rest would be a TypeError.
_SAMPLING = frozenset(
    {
        *("max_tokens", "temperature", "top_p", "top_k", "min_p", "typical_p", "stop", "seed", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "repeat_penalty", "mirostat_mode", "mirostat_tau", "mirostat_eta"),
    }
)
_CHAT = _SAMPLING | {"messages", "tools", "tool_choice", "response_format", "logprobs", "top_logprobs"}
_COMPLETION = _SAMPLING | {"prompt", "suffix", "echo", "logprobs"}
_END: Document = {}


class Model:
    """A loaded model, and the one thread that may use it."""

    def __init__(self, launch: dict[str, Any]) -> None:
        """Load the model; blocks."""
        import llama_cpp
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        values = {one.flag.names[-1]: one.value or "" for one in parse(launch["runtime_flags"])}
        pooling = values.pop("--pooling", "unspecified")
        numbers = {name: _number(value) for name, value in values.items()}
        self._defaults = {REQUEST_FLAGS[name]: value for name, value in numbers.items() if name in REQUEST_FLAGS}
        self._name = launch["name"]
        self._llama = llama_cpp.Llama(
            model_path=launch["gguf"],
            n_ctx=launch["context_size"],
            embedding=launch["mode"] == "embedding",
            pooling_type=getattr(llama_cpp, f"LLAMA_POOLING_TYPE_{pooling.upper()}"),
            verbose=True,
            **{LOAD_FLAGS[name]: value for name, value in numbers.items() if name in LOAD_FLAGS},
        )
        if launch["chat_template"]:
            template = Path(launch["chat_template"]).read_text()
            self._llama.chat_handler = Jinja2ChatFormatter(template, eos_token="", bos_token="").to_chat_handler()
        self.thread = ThreadPoolExecutor(1)

    def answer(self, kind: str, request: Document) -> Document:
        """Return a whole answer; runs on the model's thread."""
        result: Document = self._call(kind, request, stream=False)
        return {**result, "model": self._name}

    def pieces(self, kind: str, request: Document) -> Generator[Document, None, None]:
        """Yield the chunks of a stream; each step runs on the model's thread.

        The last one gets `timings` as llama.cpp's server gives them, counted by chunks: `Llama` tells no more.
        """
        started, first, tokens, last = time.monotonic(), 0.0, 0, None
        for chunk in self._call(kind, request, stream=True):
            if last is not None:
                yield last
            if _has_words(chunk):
                first, tokens = first or time.monotonic(), tokens + 1
            last = {**chunk, "model": self._name}
        if last is not None:
            seconds = time.monotonic() - first
            timings = {"prompt_n": self._llama.n_tokens - tokens, "prompt_ms": (first - started) * 1000}
            timings |= {"predicted_n": tokens, "predicted_per_second": tokens / seconds if seconds else 0.0}
            yield {**last, "timings": timings}

    def embed(self, request: Document) -> Document:
        """Return embeddings; runs on the model's thread."""
        return {**self._llama.create_embedding(input=request.get("input", "")), "model": self._name}

    def _call(self, kind: str, request: Document, *, stream: bool) -> Any:
        known = _CHAT if kind == "chat" else _COMPLETION
        renamed = {**request, "max_tokens": request.get("max_tokens", request.get("max_completion_tokens"))}
        given = {name: value for name, value in renamed.items() if name in known and value is not None}
        call = self._llama.create_chat_completion if kind == "chat" else self._llama.create_completion
        return call(**{**self._defaults, **given}, stream=stream)


def create_app(model: Model) -> Starlette:
    """Return the application with the routes that the gateway asks for."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    def serve(kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(http: Request) -> Response:
            request = await http.json()
            loop = asyncio.get_running_loop()
            try:
                if kind == "embedding":
                    return JSONResponse(await loop.run_in_executor(model.thread, model.embed, request))
                if not request.get("stream"):
                    return JSONResponse(await loop.run_in_executor(model.thread, model.answer, kind, request))
                pieces = model.pieces(kind, request)
                # The first piece is computed before the status is sent, so that a refusal is one.
                first = await loop.run_in_executor(model.thread, next, pieces, _END)
            except ValueError as error:
                return JSONResponse(_refusal(error), 400)
            return StreamingResponse(_events(model, first, pieces), media_type="text/event-stream")

        return endpoint

    async def health(_http: Request) -> Response:
        return JSONResponse({"status": "ok"})

    routes = [Route("/health", health)]
    for path, kind in (("chat/completions", "chat"), ("completions", "completion"), ("embeddings", "embedding")):
        routes.append(Route(f"/v1/{path}", serve(kind), methods=["POST"]))
    return Starlette(routes=routes)


async def _events(model: Model, first: Document, pieces: Generator[Document, None, None]) -> AsyncIterator[bytes]:
    """Yield server-sent events; when the caller goes away the generator is closed, which ends the computing."""
    loop = asyncio.get_running_loop()
    piece = first
    try:
        while piece is not _END:
            yield b"data: " + json.dumps(piece).encode() + b"\n\n"
            piece = await loop.run_in_executor(model.thread, next, pieces, _END)
        yield b"data: [DONE]\n\n"
    except (ValueError, RuntimeError) as error:
        yield b"data: " + json.dumps(_refusal(error)).encode() + b"\n\n"
    finally:
        model.thread.submit(pieces.close)


def _has_words(chunk: dict[str, Any]) -> bool:
    choice = chunk["choices"][0]
    return bool(
        choice.get("text") or choice.get("delta", {}).get("content") or choice.get("delta", {}).get("tool_calls")
    )


def _refusal(error: Exception) -> Document:
    """Return an error in OpenAI's form, of the type that llama.cpp's own server gives it."""
    kind = "exceed_context_size_error" if "context window" in str(error) else "invalid_request_error"
    return {"error": {"code": 400, "message": str(error), "type": kind}}


def _number(text: str) -> int | float:
    return float(text) if "." in text or "e" in text.lower() else int(text)


def main(text: str) -> None:
    """Load the model, then serve until SIGTERM."""
    import uvicorn

    os.umask(0o177)
    die_with_parent()
    launch = json.loads(text)
    try:
        model = Model(launch)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    uvicorn.run(create_app(model), uds=launch["socket"], log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(sys.argv[1])
