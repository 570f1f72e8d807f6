"""What the daemon does for anybody at this moment: each call that is not answered to its end."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

_ALWAYS_ANSWERED = ("/", "/stop")


class CallCounter:
    """Counts calls: requests, pulls, pushes, uploads, and streams that somebody watches. For one event loop."""

    def __init__(self) -> None:
        """Begin with none, and not ready."""
        self.in_flight = 0
        self.ready = asyncio.Event()
        """Set when the daemon serves."""

    def counted(self, app: ASGIApp, *, waits: bool = False) -> ASGIApp:
        """Return `app` with its calls counted; with `waits` they wait until the daemon serves."""

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            self.in_flight += 1
            try:
                if waits and scope["path"] not in _ALWAYS_ANSWERED:
                    await self.ready.wait()
                await app(scope, receive, send)
            finally:
                self.in_flight -= 1

        return call
