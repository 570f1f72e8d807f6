"""Where the daemon listens: loopback, the bridge of each Docker engine that a project uses, and a unix socket.

And an address for other machines, where the user wants that.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from dmrc.background import apart
from dmrc.compose.network import bridge_gateway
from dmrc.errors import DaemonError, DockerError, SettingError
from dmrc.gateway.inference.call_counter import CallCounter
from dmrc.gateway.server.admission import ListenerKind as Where
from dmrc.gateway.server.app import Gateway, ListenerApp
from dmrc.gateway.server.callers_by_address import PLAIN_PORT, CallersByAddress
from dmrc.gateway.server.certificates import CertificateFiles
from dmrc.gateway.server.connection_shares import shares_of_commands, shares_of_this_process
from dmrc.gateway.server.listeners import LOOPBACK, Listener, bind_tcp, bind_unix
from dmrc.gateway.server.page_sessions import PageSessions
from dmrc.gateway.server.tls_entrance import Tls
from dmrc.settings import Settings

_log = logging.getLogger(__name__)

_PART_OF_OTHERS, _PART_OF_HANDSHAKES = 7 / 32, 1 / 32
"""Of the connections that there may be: so much other machines may have, and this one the rest."""


class Bindings:
    """The listeners; made and used on the event loop."""

    def __init__(
        self,
        gateway: Gateway,
        work: CallCounter,
        page_sessions: PageSessions,
        addresses: CallersByAddress,
        settings: Settings,
    ) -> None:
        """Lead to `gateway`, and count its calls in `work`; nothing listens yet."""
        self._gateway = gateway
        self._work = work
        self._page_sessions = page_sessions
        self._callers = addresses
        self._port = settings.port
        self._listening = settings.listening
        self._shares = shares_of_this_process(
            1.0 if settings.listening is None else 1.0 - _PART_OF_OTHERS - _PART_OF_HANDSHAKES
        )
        self._listeners: dict[str, Listener] = {}
        self._plain: dict[str, Listener] = {}
        self._admin: Listener | None = None
        self._network: Listener | None = None
        self._certificates: CertificateFiles | None = None

    @property
    def addresses(self) -> list[str]:
        """Return the addresses that the gateway listens on, at its port."""
        return list(self._listeners)

    @property
    def for_other_machines(self) -> dict[str, object] | None:
        """Return where others come in, None is nowhere; see `NetworkListener` of the admin API."""
        listening = self._listening
        if listening is None or self._network is None:
            return None
        certificate = None if self._certificates is None else self._certificates.current
        return {
            "address": listening.address,
            "port": listening.port,
            "url": listening.url_by(() if certificate is None else certificate.names),
            "expires_at": None if certificate is None else certificate.expires_at,
        }

    def open_admin(self, app: ASGIApp, path: Path) -> None:
        """Listen for commands, which wait until the daemon serves."""
        self._admin = Listener(self._work.counted(app, waits=True), bind_unix(path), shares_of_commands())

    def open_loopback(self) -> None:
        """Listen for programs of this machine.

        Raises:
            PortTakenError: Another process listens there.
        """
        self._listeners[LOOPBACK] = self._listener(LOOPBACK, self._port, "loopback")

    async def prove_certificate(self, docker_host: str | None) -> None:
        """Read the certificate for other machines; `docker_host` is the user's engine, whose bridge needs none.

        Raises:
            SettingError: It cannot be used, or there is none where one is needed.
        """
        listening = self._listening
        if listening is None:
            return
        if listening.tls_cert and listening.tls_key:
            self._certificates = await apart(
                partial(CertificateFiles, listening.tls_cert, listening.tls_key), "certificate"
            )
        elif not (listening.may_be_plain or listening.is_loopback or await _is_bridge(listening.address, docker_host)):
            raise SettingError(
                f"other machines reach {listening.address}, and keys would go there unencrypted",
                remedy="Add a certificate: --tls-cert FILE --tls-key FILE (DMRC_TLS_CERT, DMRC_TLS_KEY)",
            )

    def open_for_other_machines(self) -> None:
        """Listen as `DMRC_LISTEN` says, by the certificate that was proved.

        Raises:
            PortTakenError: Another process listens there.
            DaemonError: The address is none of this machine, or the port is for privileged users only.
        """
        listening = self._listening
        if listening is None:
            return
        try:
            bound = bind_tcp(listening.address, listening.port, f"--listen {listening.address_in_url}:{{port}}")
        except OSError as error:
            raise DaemonError(
                f"{listening.address} cannot be listened on: {error.strerror}",
                remedy="Name an address of this machine, or 0.0.0.0",
            ) from error
        entrance = ListenerApp(self._gateway, "network", self._page_sessions, self._callers)
        shares = shares_of_this_process(_PART_OF_OTHERS)
        tls = None
        if self._certificates is not None:
            tls = Tls(self._certificates, shares_of_this_process(_PART_OF_HANDSHAKES))
        self._network = Listener(self._work.counted(entrance), bound, shares, tls=tls)
        _log.info("listening on %s (network)", listening.url)

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
        single = [each for each in (self._admin, self._network) if each is not None]
        await asyncio.gather(*(one.close() for one in (*self._listeners.values(), *self._plain.values(), *single)))

    def _listener(self, address: str, port: int, where: Where) -> Listener:
        bound = bind_tcp(address, port)
        _log.info("listening on http://%s:%d (%s)", address, port, where)
        entrance = ListenerApp(self._gateway, where, self._page_sessions, self._callers)
        return Listener(self._work.counted(entrance), bound, self._shares)


async def _is_bridge(address: str, docker_host: str | None) -> bool:
    try:
        return docker_host is not None and address == await apart(partial(bridge_gateway, docker_host), "bridge")
    except DockerError:
        return False
