"""The engines of this machine for another one's dmrc, on the admin socket, to which ssh leads.

A request has been checked there, and is recorded there. Here it is a lease of the scheduler, so that several machines
and the projects of this one queue for the same runner, whose memory counts here; nothing is kept of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache
from typing import cast

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from dmrc.background import beside
from dmrc.engines.ssh.hosted_use import ENGINE, ERROR_HEADER, USE_HEADER, HostedUse
from dmrc.errors import DmrcError, EngineError
from dmrc.fields import JsonObject
from dmrc.gateway.server.body_writer import writer_of
from dmrc.gateway.serving.catalog import Catalog
from dmrc.gateway.serving.targets import Use
from dmrc.project import ModelDeclaration
from dmrc.scheduler.scheduler import Scheduler
from dmrc.scheduler.target import Target
from dmrc.told_errors import error_document

_NOT_PASSED = frozenset({"host", "content-length", "connection", "transfer-encoding", USE_HEADER})
_PASSED_BACK = ("content-type", "content-length", "retry-after", "x-dmrc-node", "x-dmrc-replica")

_parsed = lru_cache(maxsize=256)(HostedUse.parse)


async def target_of(catalog: Catalog, use: HostedUse) -> Target:
    """Return what to run for another machine.

    Raises:
        ModelNotFoundError: It is not in the store.
    """
    declaration = ModelDeclaration(key=use.model, model=use.model, options=use.options)
    return await catalog.target(Use(None, use.model, declaration), use.operation)


class HostedEngine:
    """The engines of models, for requests that the other machine has checked and records: nothing is kept of them."""

    def __init__(self, catalog: Catalog, scheduler: Scheduler) -> None:
        """Lease runners of `scheduler`."""
        self._catalog = catalog
        self._scheduler = scheduler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: the engine's own answer, or our error."""
        answer = _Sent(scope, send)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        body = await _body(receive)
        has_gone = False

        async def watch() -> None:
            nonlocal has_gone
            while (await receive())["type"] != "http.disconnect":
                pass
            if not answer.is_complete:
                has_gone = True
                task.cancel()

        try:
            with beside(watch(), "the watch for a machine that hangs up"):
                await self._answer(scope, body, answer)
        except DmrcError as error:
            await answer.fail(error)
        except ConnectionError as error:
            await answer.fail(EngineError(f"the engine broke off: {error}", remedy="See the log there: dmrc logs"))
        except asyncio.CancelledError:
            if not has_gone or task.uncancel():
                raise

    async def _answer(self, scope: Scope, body: bytes, answer: _Sent) -> None:
        headers = Headers(scope=scope)
        target = await target_of(self._catalog, _parsed(headers.get(USE_HEADER, "")))
        passed = {name: value for name, value in headers.items() if name not in _NOT_PASSED}
        path = str(scope["path"]).removeprefix(ENGINE)
        async with self._scheduler.lease(target) as lease:
            if scope["method"] != "GET":
                lease.slot_for({})  # the engine chooses, for nothing is read of what is sent
            asked = lease.session.get(path) if scope["method"] == "GET" else lease.session.post(path, passed, body)
            with closing(await asked) as found:
                await answer.start(found.status, found.headers)
                await found.into(answer.body)
        await answer.end()


class _Sent:
    """One answer on its way to the other machine."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.is_complete = False
        self.body = writer_of(scope, send)
        self._send = send
        self._has_begun = False

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        kept = [(name, value) for name, value in headers.items() if name in _PASSED_BACK]
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept]
        self._has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def end(self) -> None:
        await self.body.written()
        self.is_complete = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: DmrcError) -> None:
        """Tell an error; an answer that has begun is left incomplete, by which the server ends the connection."""
        if self._has_begun:
            return
        document: JsonObject = {"error": error_document(error)}
        body = json.dumps(document).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (ERROR_HEADER.encode(), b"1"),
        ]
        self.is_complete = True
        await self._send({"type": "http.response.start", "status": error.http_status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
