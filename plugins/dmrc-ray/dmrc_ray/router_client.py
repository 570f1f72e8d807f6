"""The client of Serve's router: it leases a slot of a replica for each request, and Serve counts who waits for one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import time
from typing import Any

from dmrc_ray.forwarding import NothingSentError, Request, answer, before, forward
from dmrc_ray.replica_info import ReplicaInfo
from dmrc_ray.replicas import KnownReplica, Replicas

_SECONDS = 60.0
"""How long others are asked when one has gone: a replica that takes its place needs some seconds."""

_PAUSE_SECONDS = 0.2

_MOST_SENT = 3
"""How many replicas get one request: what ends the first one may end them all."""


class RouterClient:
    """Of one application."""

    def __init__(self, application: str, bridge: str, replicas: Replicas) -> None:
        """Ask in the name of a bridge; begin nothing."""
        self._application, self._bridge, self._replicas = application, bridge, replicas
        self._numbers = itertools.count(1)
        self._handle: Any = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def serve(self, request: Request, caller: asyncio.StreamWriter) -> None:
        """Have a replica answer; where it goes away before the first byte of its answer, another one."""
        last: Exception | None = None
        in_vain: list[str] = []
        had: set[str] = set()
        began = time.monotonic()
        while last is None or (len(had) < _MOST_SENT and time.monotonic() < began + _SECONDS):
            if last is not None:
                await asyncio.sleep(_PAUSE_SECONDS)
            try:
                lease, replica, response = await self._acquire(request.session)
            except Exception as error:  # noqa: BLE001 Ray has many names for a replica that has gone
                last = error
                continue
            info = replica.info
            try:
                await forward(request, replica, caller, before(in_vain, time.monotonic() - began))
            except NothingSentError as error:
                last = ConnectionError(f"replica {info.name} on node {info.node}: {error}")
                if error.was_sent:
                    had.add(info.name)
                if (who := f"{info.name} on {info.node}: {error}") not in in_vain:
                    in_vain.append(who)
            else:
                return
            finally:
                self._release(info, lease, response)
        message = f"no replica answers; the last one: {last}"
        if len(had) >= _MOST_SENT:
            message = f"{len(had)} replicas had the request in vain, and it may be what ends them; the last one: {last}"
        caller.write(answer("502 Bad Gateway", json.dumps({"error": {"message": message, "code": 502}}).encode()))

    async def open(self) -> None:
        """Get to know Serve's router, once there is an application."""
        async with self._opening:
            if self._handle is None:
                self._handle = await asyncio.to_thread(_handle, self._application)

    async def _acquire(self, session: str) -> tuple[str, KnownReplica, Any]:
        """Wait for a replica that has room."""
        await self.open()
        lease = str(next(self._numbers))
        handle = self._handle.options(session_id=session) if session else self._handle
        response = handle.lease.remote(self._bridge, lease)
        try:
            info = ReplicaInfo(**await anext(response.__aiter__()))
        except BaseException:
            response.cancel()
            raise
        return lease, self._replicas.know(info), response

    def _release(self, info: ReplicaInfo, lease: str, response: Any) -> None:
        """Tell the replica, and Serve, that a request has ended."""
        if not self._replicas.end(info.name, lease):
            response.cancel()
        closing = asyncio.create_task(_drain(response))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _drain(response: Any) -> None:
    """Let Serve see the end of a lease."""
    with contextlib.suppress(Exception):
        async for _ in response:
            pass


def _handle(application: str) -> Any:
    from ray import serve

    # The import has set another level, at which a dead replica is told each time that it is asked.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return serve.get_app_handle(application).options(stream=True)
