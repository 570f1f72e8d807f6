"""Callers of HTTP/1.0, as nginx is by default before the servers that it passes requests to."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def until_the_connection_ends(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Serve a caller of HTTP/1.0, which knows no chunks: a body of unknown length ends with the connection."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def unframed(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                if not has_length:
                    cycle.chunked_encoding = False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, unframed)

    return serve
