"""The child that dmrc starts for a model on a cluster: it listens on the runner's socket, and has others do the work.

`python -m dmrc_ray.bridge ORDER`. Ray Serve leases it a slot for each request and says where that llama.cpp server
is; it copies between that server and dmrc: no byte of a request goes through Ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import urllib.parse
from collections.abc import Awaitable
from typing import Any

import uvloop

from dmrc.engines.parent_death import die_with_parent
from dmrc_ray.cluster import connect
from dmrc_ray.engine import FATAL
from dmrc_ray.forwarding import HEAD_BYTES, Request, answer
from dmrc_ray.order import Order

_LEAVE_SECONDS = 3.0
_STATUS_SECONDS = 1.0
_ROOM_SECONDS = 100.0
"""How long a node that has room is waited for: a cluster may bring one when it is wanted."""


class Bridge:
    """Of one runner; for one event loop."""

    def __init__(self, order: Order, registry: Any) -> None:
        """Serve an application of the registry; begin nothing."""
        from dmrc_ray.replicas import Replicas
        from dmrc_ray.router_client import RouterClient

        self._order, self._registry = order, registry
        self._token = str(os.getpid())
        self._holder = (order.application, order.holder, self._token)
        self._bridge = f"{order.holder}-{self._token}"
        self._replicas = Replicas(self._bridge, self._tell_gone)
        self._router = RouterClient(order.application, self._bridge, self._replicas)
        self._was_ready = False
        self._failure = ""

    async def run(self) -> int:
        """Serve until SIGTERM; return the exit code."""
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        server = await asyncio.start_unix_server(self._serve, self._order.socket, limit=HEAD_BYTES)
        wanted = asyncio.create_task(ended.wait())
        failed = asyncio.create_task(self._watch_start())
        tasks = [asyncio.create_task(each) for each in (self._send_heartbeats(), self._watch())]
        done, _ = await asyncio.wait({wanted, failed}, return_when=asyncio.FIRST_COMPLETED)
        if wanted not in done and not failed.result():
            await wanted
        server.close()
        for task in (*tasks, failed):
            task.cancel()
        self._replicas.close()
        with contextlib.suppress(Exception):  # whatever the matter is with the cluster: it is left
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._registry.leave.remote(*self._holder)
        if wanted not in done and failed.done() and not failed.cancelled() and failed.result():
            sys.stderr.write(f"{FATAL}{failed.result()}\n")
            return 1
        return 0

    async def _send_heartbeats(self) -> None:
        from dmrc_ray.application_registry import HEARTBEAT_SECONDS, application_registry

        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._registry.heartbeat.remote(*self._holder, self._order.keep_seconds)
            except Exception:  # noqa: BLE001 another one is begun
                with contextlib.suppress(Exception):  # the cluster has no head now: the next heartbeat tries again
                    self._registry = await asyncio.to_thread(application_registry)

    async def _watch(self) -> None:
        from dmrc_ray.replica_info import ReplicaInfo

        version, said = -1, ""
        while True:
            try:
                version, replicas, self._failure = await self._registry.watch.remote(self._order.application, version)
            except Exception:  # noqa: BLE001 `_send_heartbeats` asks for another one
                version = -1
                await asyncio.sleep(_STATUS_SECONDS)
                continue
            self._replicas.told([ReplicaInfo(**each) for each in replicas])
            if not self._was_ready and self._replicas.ready():
                with contextlib.suppress(Exception):  # the first request tries it again
                    await self._router.open()
                self._was_ready = True
            starting = [each.info for each in self._replicas.all() if each.info.state != "ready"]
            now = ", ".join(f"a replica on {info.node} is {info.detail or 'starting'}" for info in starting)
            if now != said and now:
                said = now
                print(f"main: {now}", flush=True)

    async def _watch_start(self) -> str:
        """Return why there is no replica; empty once there is one."""
        from dmrc_ray import application

        deadline = time.monotonic() + _ROOM_SECONDS
        while not self._was_ready:
            await asyncio.sleep(_STATUS_SECONDS)
            is_late = time.monotonic() > deadline
            try:
                why = await asyncio.to_thread(application.failure, self._order.application)
                if why is None and is_late and not self._replicas.all():
                    return await asyncio.to_thread(application.no_room, self._order.needs)
            except Exception as error:  # noqa: BLE001 Serve starts its controller anew, or the cluster has gone
                why = application.telling(str(error)) if is_late else None
            if why is not None:
                return self._failure or why
        return ""

    def _tell_gone(self, name: str) -> None:
        self._registry.gone.remote(self._order.application, name)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # It is cancelled only when the bridge ends.
        with contextlib.suppress(OSError, ValueError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            request = await Request.read(reader)
            await _while_there(reader, self._answer(request, writer))
            await writer.drain()
        writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        path, _, query = request.path.partition("?")
        if path == "/health":
            writer.write(answer("200 OK", b"{}") if self._was_ready else answer("503 Service Unavailable", b"{}"))
        elif path == "/replicas":
            await self._show(writer)
        elif path.startswith("/replicas/") and path.endswith("/log"):
            lines = int(urllib.parse.parse_qs(query).get("lines", ["100"])[0])
            writer.write(await self._log(urllib.parse.unquote(path.split("/")[2]), lines))
        else:
            await self._router.serve(request, writer)

    async def _log(self, name: str, lines: int) -> bytes:
        try:
            text = await self._replicas.log(name, lines)
        except OSError:
            return answer("503 Service Unavailable", b"")
        return answer("404 Not Found", b"") if text is None else answer("200 OK", text.encode(), "text/plain")

    async def _show(self, writer: asyncio.StreamWriter) -> None:
        """Write the replicas, and again at each change, for as long as somebody reads it."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n")
        last = b""
        while True:
            if (line := json.dumps(self._document()).encode() + b"\n") != last:
                last = line
                writer.write(line)
                await writer.drain()
            await self._replicas.next_change()

    def _document(self) -> dict[str, Any]:
        """Return what there is. While more replicas may come, requests for one more are let through to Serve."""
        ready = self._replicas.ready()
        slots = sum(each.info.slots for each in ready)
        if len(ready) < self._order.most:
            slots += self._order.target
        return {"slots": slots, "replicas": [each.to_json() for each in self._replicas.all()]}


async def _while_there(reader: asyncio.StreamReader, work: Awaitable[None]) -> None:
    """Do the work, and stop when the caller has gone."""
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(reader))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not doing.done():
            doing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await doing


async def _gone(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):  # what was not read by the caller ends the connection in this way
        await reader.read(1)


def main(text: str) -> int:
    """Serve until SIGTERM; return 1 where nothing can be served."""
    os.umask(0o077)  # the socket is ours alone
    die_with_parent()
    order = Order.from_json(text)
    try:
        registry = connect(order)
    except ConnectionError as error:
        sys.stderr.write(f"{FATAL}{error}\n")
        return 1
    return uvloop.run(Bridge(order, registry).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
