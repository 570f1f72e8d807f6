"""Stories about the runners' HTTP client, each played on both kinds of event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TypeVar

import pytest

from dmrc.engines.http_client.connectors import UnixConnector
from dmrc.engines.http_client.session import HttpSession
from tests.engines.scripted_server import ScriptedServer

_T = TypeVar("_T")


Play = Callable[[Awaitable[_T]], _T]
# Python's own loop takes a full backlog for a connection that is on its way.
only_uvloop = pytest.mark.parametrize("play", ["uvloop"], indirect=True)


async def ask(session: HttpSession, body: bytes = b"{}") -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    with closing(await session.post("/v1/test", {"content-type": "application/json"}, body)) as answer:
        return answer.status, b"".join([chunk async for chunk in answer])


async def ask_once(server: ScriptedServer) -> tuple[int, bytes]:
    session = HttpSession(UnixConnector(server.path))
    try:
        return await ask(session)
    finally:
        await session.close()
