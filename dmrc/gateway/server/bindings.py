"""Where the daemon listens: loopback, the bridge of each Docker engine that a project uses, and a unix socket."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from dmrc.background import apart
from dmrc.compose.network import bridge_gateway
from dmrc.gateway.inference.call_counter import CallCounter
from dmrc.gateway.server.admission import ListenerKind as Where
from dmrc.gateway.server.app import Gateway, ListenerApp
from dmrc.gateway.server.callers_by_address import PLAIN_PORT, CallersByAddress
from dmrc.gateway.server.connection_shares import shares_of_commands, shares_of_this_process
from dmrc.gateway.server.listeners import LOOPBACK, Listener, bind_tcp, bind_unix
from dmrc.gateway.server.page_sessions import PageSessions

_log = logging.getLogger(__name__)


class Bindings:
    """The listeners; made and used on the event loop."""

    def __init__(
        self, gateway: Gateway, work: CallCounter, page_sessions: PageSessions, addresses: CallersByAddress, port: int
    ) -> None:
        """Lead to `gateway`, and count its calls in `work`; nothing listens yet."""
        self._gateway = gateway
        self._work = work
        self._page_sessions = page_sessions
        self._callers = addresses
        self._port = port
        self._shares = shares_of_this_process()
        self._listeners: dict[str, Listener] = {}
        self._plain: dict[str, Listener] = {}
        self._admin: Listener | None = None

    @property
    def addresses(self) -> list[str]:
        """Return the addresses that the gateway listens on, at its port."""
        return list(self._listeners)

    def open_admin(self, app: ASGIApp, path: Path) -> None:
        """Listen for commands, which wait until the daemon serves."""
        self._admin = Listener(self._work.counted(app, waits=True), bind_unix(path), shares_of_commands())

    def open_loopback(self) -> None:
        """Listen for programs of this machine.

        Raises:
            PortTakenError: Another process listens there.
        """
        self._listeners[LOOPBACK] = self._listener(LOOPBACK, self._port, "loopback")

    async def attach(self, docker_host: str) -> str:
        """Listen where the containers of a Docker engine reach this machine, and return the address.

        Raises:
            DockerError: The engine cannot be reached.
            PortTakenError: Another process listens there.
        """
        address = await apart(partial(bridge_gateway, docker_host), "bridge")
        if address is not None and address not in self._listeners:
            self._listeners[address] = self._listener(address, self._port, "bridge")
        return address or LOOPBACK

    async def attach_plainly(self, docker_host: str) -> None:
        """Listen there on port 80 too.

        Raises:
            DockerError: The engine cannot be reached.
            PortTakenError: Another process listens there.
            DaemonError: The port is for privileged users only.
        """
        address = await apart(partial(bridge_gateway, docker_host), "bridge")
        if address is not None and address not in self._plain and self._port != PLAIN_PORT:
            self._plain[address] = self._listener(address, PLAIN_PORT, "bridge")

    async def close(self) -> None:
        """Stop listening; requests in flight get two seconds."""
        admin = () if self._admin is None else (self._admin,)
        await asyncio.gather(*(one.close() for one in (*self._listeners.values(), *self._plain.values(), *admin)))

    def _listener(self, address: str, port: int, where: Where) -> Listener:
        bound = bind_tcp(address, port)
        _log.info("listening on http://%s:%d (%s)", address, port, where)
        entrance = ListenerApp(self._gateway, where, self._page_sessions, self._callers)
        return Listener(self._work.counted(entrance), bound, self._shares)
