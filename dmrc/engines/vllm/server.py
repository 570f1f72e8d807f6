"""A vLLM whose engine process has ended, and which answers all the same.

Its server and its engine are two processes. Where the engine ends, the server says so to each request, in the midst of
a stream too, and looks only every five seconds whether it should end as well.
Source: `watchdog_loop` in https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/launchers/launcher.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing

from dmrc.answer import Answer, Replica
from dmrc.engines.engine import Server
from dmrc.engines.process import EngineProcess
from dmrc.engines.session import Session

# Source: https://github.com/vllm-project/vllm/blob/main/vllm/v1/engine/exceptions.py
_DEAD = b"EngineCore encountered an issue"
_ERROR_EVENT = b'data: {"error"'  # in words its quotes would be escaped
_LARGEST_ERROR_BYTES = 1 << 20
_HAS_ENDED = "vLLM's engine process has ended"


class VllmServer:
    """A server whose requests notice the end of its engine; see `Server`."""

    replicas = None

    def __init__(self, server: Server) -> None:
        """Watch over the answers of `server`."""
        self._server = server

    @property
    def process(self) -> EngineProcess | None:
        """Return the child."""
        return self._server.process

    async def wait_ready(self) -> Session:
        """Wait until it answers; see `Server`."""
        session, process = await self._server.wait_ready(), self.process
        return VllmSession(session, process.kill if process is not None else lambda: None)


class VllmSession:
    """Ends a server without an engine at its first such answer, which is no answer then; see `Session`."""

    def __init__(self, session: Session, end: Callable[[], None]) -> None:
        """Speak by `session`; `end` ends the server."""
        self.model = session.model
        self._session = session
        self._end = end

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request; see `Session`."""
        answer = await self._session.post(path, headers, body)
        if answer.status < 500:
            is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
            return _Watched(answer, self._end) if is_stream else answer
        with closing(answer):
            said = b""
            async for chunk in answer:
                said += chunk
                if len(said) > _LARGEST_ERROR_BYTES:
                    break
        if _DEAD in said:
            self._end()
            raise ConnectionError(_HAS_ENDED)
        return _Read(answer.status, answer.headers, said)

    async def get(self, path: str) -> Answer:
        """Ask for a document; see `Session`."""
        return await self._session.get(path)

    async def close(self) -> None:
        """End the connections."""
        await self._session.close()


class _Watched:
    """A stream that breaks off where the server says that its engine has ended; see `Answer`."""

    replica: Replica | None = None

    def __init__(self, answer: Answer, end: Callable[[], None]) -> None:
        self.status, self.headers = answer.status, answer.headers
        self._answer = answer
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = b""
        async for chunk in self._answer:
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            before, _, event = whole.partition(_ERROR_EVENT)
            if _DEAD in event:
                if before:
                    yield before
                self._end()
                raise ConnectionError(_HAS_ENDED)
            if newline:
                yield whole + newline
        if rest:
            yield rest

    def close(self) -> None:
        self._answer.close()


class _Read:
    """An answer that was read already; see `Answer`."""

    replica: Replica | None = None

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers = status, headers
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    def close(self) -> None:
        """Nothing is held any more."""
