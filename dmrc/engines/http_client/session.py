"""The HTTP client of the engines: kept-alive connections, one request at a time on each.

Small on purpose: per streamed chunk it costs a third of what a general client does, and the gateway lives by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from dmrc.engines.http_client.connection import ClientConnection
from dmrc.engines.http_client.connectors import Connector, UnreachableError
from dmrc.engines.http_client.http_answer import HttpAnswer, UnansweredError
from dmrc.engines.http_client.idle_connections import IdleConnections
from dmrc.engines.http_client.request_head import request_head


class HttpSession:
    """The client of one server; see `Session`. It follows no redirect, and keeps no cookie."""

    model: str | None = None

    def __init__(self, connector: Connector) -> None:
        """Connect by `connector`, at the first request."""
        self._connector = connector
        self._idle = IdleConnections[ClientConnection](connector.options.rest_seconds)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send a request and return its answer; see `Session`.

        Servers close connections that rest for some seconds. Where one does so while a request is on its way, the
        request is sent again on a new connection: once, and not if any byte of an answer has come. A new connection
        that ends so is an error, for the server had the request: it may have worked, and a paid one counts it.
        Source: RFC 9112, section 9.3.1.
        """
        return await self._ask(self._head("POST", path, {"content-length": str(len(body)), **headers}), body)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Ask for a document; the caller must `close` the answer.

        Raises:
            ConnectionError: The server cannot be reached, or goes away before it has answered.
        """
        return await self._ask(self._head("GET", path, headers or {}), b"")

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        connector = self._connector
        return request_head(method, connector.prefix + path, connector.host, {**headers, **connector.headers})

    async def _ask(self, head: bytes, body: bytes) -> HttpAnswer:
        if (kept := self._idle.take()) is not None:
            with suppress(UnansweredError):
                return await kept.ask(head, body)
        try:
            connection = await self._connector.connect(lambda: ClientConnection(self._idle, self._connector.options))
        except UnreachableError as error:
            error.was_sent = kept is not None
            raise
        return await connection.ask(head, body)

    async def close(self) -> None:
        """End the connections that rest; those in use end with their answers."""
        self._idle.close()
