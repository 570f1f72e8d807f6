"""A streamed answer whose source is closed when the answer ends, however it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class ClosingStream(StreamingResponse):
    """Starlette's own leaves the source to the garbage collector when the caller goes away, and its files stay open."""

    def __init__(
        self, source: AsyncGenerator[bytes], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send what `source` yields."""
        super().__init__(source, media_type=media_type, headers=headers)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with aclosing(self._source):
            await super().__call__(scope, receive, send)
