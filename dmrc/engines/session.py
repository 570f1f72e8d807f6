"""How requests reach a runner: what the gateway asks of the HTTP client of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dmrc.answer import Answer


class Session(Protocol):
    """The client of one runner; for one event loop."""

    model: str | None
    """What its server calls the model, as each request must; None: it takes any name."""

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request and return its answer, which the caller must `close`, as soon as its headers have come.

        `path` is one of llama.cpp's server; `headers` hold neither `host` nor `content-length`. On cancel the
        connection ends.

        Raises:
            ConnectionError: The runner cannot be reached, or goes away before it has answered.
        """

    async def get(self, path: str) -> Answer:
        """Ask for a document, as `post` does."""

    async def close(self) -> None:
        """End the connections."""
