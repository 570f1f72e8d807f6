"""Answers of dialects that llama.cpp's server speaks itself: they pass as they are, but for errors and early ends."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from dmrc.errors import EngineError
from dmrc.gateway.dialects.dialect import Clock

_LONGEST_NAME = 64


class Passing:
    """A reply whose bytes pass; see `Reply`."""

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, end: re.Pattern[bytes], error: Callable[[int, bytes], bytes] | None = None) -> None:
        """Know what ends a stream: the beginning of a line, with the line break before it, which no words can hold.

        `error` turns an error of the engine into one of the dialect.
        """
        self._end = end
        self._error = error

    def whole(self, status: int, body: bytes, clock: Clock) -> bytes:
        """Return the answer; see `Reply`."""
        del clock
        return self._error(status, body) if self._error is not None and status >= 400 else body

    async def stream(self, chunks: AsyncIterator[bytes], clock: Clock) -> AsyncGenerator[bytes]:
        """Yield the chunks; see `Reply`."""
        del clock
        latest, is_over = b"\n", False
        async for chunk in chunks:
            latest += chunk
            is_over = is_over or self._end.search(latest) is not None
            latest = latest[-_LONGEST_NAME:]
            yield chunk
        if not is_over:
            raise EngineError("the engine ended its stream too early", remedy="See: dmrc logs")
