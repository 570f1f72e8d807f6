"""How requests reach a runner: what the gateway asks of the HTTP client of an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol


class Answer(Protocol):
    """The answer to one request, whose status and headers have come: `async for chunk in answer` gives its body.

    Chunks come as they are read, and are no further read than they are taken, so a slow caller slows the engine down
    instead of filling memory. Iterating raises ConnectionError where the answer breaks off before its end.
    """

    @property
    def status(self) -> int:
        """Return the HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers; their names are in lower case."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the chunks that are left; none is empty."""

    def close(self) -> None:
        """Let go of it. Before its end that ends the connection, by which the engine stops computing."""


class Session(Protocol):
    """The client of one runner; for one event loop."""

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request and return its answer, which the caller must `close`, as soon as its headers have come.

        `path` is one of llama.cpp's server; `headers` hold neither `host` nor `content-length`. On cancel the
        connection ends.

        Raises:
            ConnectionError: The runner cannot be reached, or goes away before it has answered.
        """

    async def close(self) -> None:
        """End the connections."""
