"""Where requests get their tickets: Ray Serve says which replica is next, and counts who waits for one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import time
from typing import Any

from dmrc_ray.forwarding import NothingSentError, Request, answer, before, forward
from dmrc_ray.place import Place
from dmrc_ray.places import Places

_SECONDS = 60.0
"""How long others are asked when one has gone: a replica that takes its place needs some seconds."""

_PAUSE_SECONDS = 0.2

_MOST_SENT = 3
"""How many replicas get one request: what ends the first one may end them all."""


class TicketOffice:
    """Of one application."""

    def __init__(self, application: str, bridge: str, places: Places) -> None:
        """Ask in the name of a bridge; begin nothing."""
        self._application, self._bridge, self._places = application, bridge, places
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
                ticket, place, response = await self._take(request.session)
            except Exception as error:  # noqa: BLE001 Ray has many names for a replica that has gone
                last = error
                continue
            try:
                await forward(request, place, caller, before(in_vain, time.monotonic() - began))
            except NothingSentError as error:
                last = ConnectionError(f"replica {place.name} on node {place.node}: {error}")
                if error.was_sent:
                    had.add(place.name)
                if (who := f"{place.name} on {place.node}: {error}") not in in_vain:
                    in_vain.append(who)
            else:
                return
            finally:
                self._give_back(place, ticket, response)
        message = f"no replica answers; the last one: {last}"
        if len(had) >= _MOST_SENT:
            message = f"{len(had)} replicas had the request in vain, and it may be what ends them; the last one: {last}"
        caller.write(answer("502 Bad Gateway", json.dumps({"error": {"message": message, "code": 502}}).encode()))

    async def open(self) -> None:
        """Get to know Serve's router, once there is an application."""
        async with self._opening:
            if self._handle is None:
                self._handle = await asyncio.to_thread(_handle, self._application)

    async def _take(self, session: str) -> tuple[str, Place, Any]:
        """Wait for a replica that has room."""
        await self.open()
        ticket = str(next(self._numbers))
        handle = self._handle.options(session_id=session) if session else self._handle
        response = handle.hold.remote(self._bridge, ticket)
        try:
            place = Place(**await anext(response.__aiter__()))
        except BaseException:
            response.cancel()
            raise
        self._places.know(place)
        return ticket, place, response

    def _give_back(self, place: Place, ticket: str, response: Any) -> None:
        """Tell the replica, and Serve, that a request has ended."""
        if not self._places.end(place.name, ticket):
            response.cancel()
        closing = asyncio.create_task(_drain(response))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _drain(response: Any) -> None:
    """Let Serve see the end of a ticket."""
    with contextlib.suppress(Exception):
        async for _ in response:
            pass


def _handle(application: str) -> Any:
    from ray import serve

    # The import has set another level, at which a dead replica is told each time that it is asked.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return serve.get_app_handle(application).options(stream=True)
