"""A vLLM whose engine process has ended, and which answers all the same.

Its server and its engine are two processes. Where the engine ends, the server says so to each request, in the midst of
a stream too, and looks only every five seconds whether it should end as well.
Source: `watchdog_loop` in https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/launchers/launcher.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

from dmrc.answer import Answer, WrappedAnswer
from dmrc.engines.engine import Server
from dmrc.engines.process import EngineProcess
from dmrc.engines.session import Session
from dmrc.streaming import Sink, Through, WholeLines, beginning, give_through

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
            said, _ = await beginning(answer.into, _LARGEST_ERROR_BYTES)
        if _DEAD in said:
            self._end()
            raise ConnectionError(_HAS_ENDED)
        return _Read(answer, said)

    async def get(self, path: str) -> Answer:
        """Ask for a document; see `Session`."""
        return await self._session.get(path)

    async def close(self) -> None:
        """End the connections."""
        await self._session.close()


class _Watched(WrappedAnswer):
    """A stream that breaks off where the server says that its engine has ended; see `Answer`."""

    def __init__(self, answer: Answer, end: Callable[[], None]) -> None:
        super().__init__(answer)
        self._end = end

    async def into(self, sink: Sink) -> None:
        watch = _Watch(sink)
        try:
            await give_through(WholeLines(), self._answer.into, Through(watch, sink))
        except ConnectionError:
            if watch.has_seen_the_end:
                self._end()
            raise


class _Watch:
    """Lets whole lines through, until one says that the engine has ended; see `Transform`."""

    def __init__(self, sink: Sink) -> None:
        self.has_seen_the_end = False
        self._sink = sink

    def feed(self, chunk: bytes) -> bytes:
        if _ERROR_EVENT in chunk:
            before, _, event = chunk.partition(_ERROR_EVENT)
            if _DEAD in event:
                if before:
                    self._sink.take(before)
                self.has_seen_the_end = True
                raise ConnectionError(_HAS_ENDED)
        return chunk

    def end(self) -> bytes:
        return b""


class _Read(WrappedAnswer):
    """An answer that was read already; see `Answer`."""

    def __init__(self, answer: Answer, body: bytes) -> None:
        super().__init__(answer)
        self._body = body

    async def into(self, sink: Sink) -> None:
        if self._body:
            sink.take(self._body)
