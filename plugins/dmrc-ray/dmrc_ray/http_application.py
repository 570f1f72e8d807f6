"""A Serve application with a route of HTTP, for a RayService: each replica owns a llama.cpp server.

`dmrc export kubernetes --overlay ray` names it. dmrc's gateway asks Serve's proxies as an upstream: here is no bridge,
and so neither which replica answered, nor a second try. The key that the server asks for is in `LLAMA_API_KEY`.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_PROGRAM = "llama-server"
_LOADING_SECONDS = 3600.0
_LOOK_SECONDS = 0.2
_HOP_BY_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


class HttpLlamaServer:
    """The class of the deployment."""

    async def __init__(self, arguments: list[str]) -> None:  # type: ignore[misc]
        """Start the server and return when its model is loaded.

        Raises:
            RuntimeError: There is none, it ended, or takes longer than an hour.
        """
        import aiohttp

        from dmrc_ray.replica import free_port

        port = free_port("127.0.0.1")
        self._url = f"http://127.0.0.1:{port}"
        try:
            self._process = subprocess.Popen([_PROGRAM, *_listening(arguments, port)])
        except FileNotFoundError:
            raise RuntimeError(
                f"node '{socket.gethostname()}' has no {_PROGRAM} on its PATH: install llama.cpp there"
            ) from None
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        deadline = asyncio.get_running_loop().time() + _LOADING_SECONDS
        while not await self._is_loaded():
            if self._process.poll() is not None:
                raise RuntimeError(f"{_PROGRAM} does not load its model: it ended with {self._process.returncode}")
            if asyncio.get_running_loop().time() > deadline:
                self._process.kill()
                raise RuntimeError(f"{_PROGRAM} has not loaded its model in {_LOADING_SECONDS:.0f} s")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _is_loaded(self) -> bool:
        import aiohttp

        try:
            async with self._http.get(f"{self._url}/health") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def __call__(self, request: Request) -> Response:
        """Hand a request to the server, and its answer back as it comes."""
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        answer = await self._http.request(
            request.method, f"{self._url}{request.url.path}", headers=headers, data=await request.body()
        )
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
        return StreamingResponse(_chunks(answer), answer.status, kept)

    def check_health(self) -> None:
        """Tell Serve that the server has died, so that another replica comes."""
        if self._process.poll() is not None:
            raise RuntimeError(f"{_PROGRAM} ended with {self._process.returncode}")

    def __del__(self) -> None:
        """End with the server."""
        if (process := getattr(self, "_process", None)) is not None:
            process.kill()


async def _chunks(answer: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    finally:
        answer.close()


def _listening(arguments: list[str], port: int) -> list[str]:
    """Return the arguments of a Pod's engine for one that only its replica reaches."""
    changed = {"--host": "127.0.0.1", "--port": str(port)}
    return [changed.get(before, word) for before, word in zip(["", *arguments], arguments, strict=False)]


def build(args: dict[str, Any]) -> serve.Application:
    """Return the application; `args` are `{"arguments": ["--model", …]}`, and the rest is in Serve's configuration."""
    return serve.deployment(name=_PROGRAM)(HttpLlamaServer).bind(args["arguments"])
