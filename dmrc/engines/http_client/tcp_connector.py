"""How a server is reached by TCP: with TLS where its URL says https, and through a proxy where there is one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from dmrc.engines.http_client.addresses import connected_socket
from dmrc.engines.http_client.connection import ClientConnection
from dmrc.engines.http_client.connection_options import ConnectionOptions
from dmrc.engines.http_client.connectors import NewConnection, UnreachableError
from dmrc.engines.http_client.request_head import request_head
from dmrc.proxies import Proxy

_CONNECT_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}
# What stands in a path as it is: RFC 3986, section 3.3, and a % that was written.
_IN_PATHS = "/%!$&'()*+,;=:@"


class TcpConnector:
    """Connects to the server of a URL; see `Connector`.

    Certificates are checked by what the system trusts, or the file that `SSL_CERT_FILE` names.
    """

    # An answer may take minutes; a silence of ten is a server that is gone. Many forget a connection after a while
    # without a word to anybody, or something between does: after 15 seconds none is trusted.
    options = ConnectionOptions(silence_seconds=600, rest_seconds=15)

    def __init__(self, url: str, proxy: Proxy | None) -> None:
        """Connect to the server of `url`, whose path goes before that of each request.

        Raises:
            ValueError: It is no URL of a server.
        """
        parts = urlsplit(url)
        self._name = (parts.hostname or "").encode("idna").decode()
        self._port = parts.port or _PORTS[parts.scheme]
        self._is_secure = parts.scheme == "https"
        self._proxy = proxy
        self._trust: ssl.SSLContext | None = None
        is_asked_by_url = proxy is not None and not self._is_secure
        bare = f"[{self._name.partition('%')[0]}]" if ":" in self._name else self._name
        self._authority = f"{bare}:{self._port}"
        self.host = bare if self._port == _PORTS[parts.scheme] else self._authority
        self.prefix = (f"http://{self.host}" if is_asked_by_url else "") + quote(parts.path, safe=_IN_PATHS)
        self.headers: Mapping[str, str] = proxy.headers if proxy is not None and is_asked_by_url else {}

    async def connect(self, new: NewConnection) -> ClientConnection:
        """Open a connection: a proxy's where there is one, and through it where the server wants TLS."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                if self._proxy is None:
                    return await self._open(new, self._name, self._port, is_secure=self._is_secure)
                trust = await self._trusted() if self._is_secure else None
                connection = await self._by_proxy(new, self._proxy)
                if trust is not None:
                    await connection.start_tls(trust, self._name.rstrip("."))
                return connection
        except UnreachableError:
            raise
        except OSError as error:
            raise UnreachableError(_reason(error)) from error

    async def _by_proxy(self, new: NewConnection, proxy: Proxy) -> ClientConnection:
        """Reach the proxy, and where the server wants TLS let it open a tunnel: RFC 9110, section 9.3.6."""
        try:
            connection = await self._open(new, proxy.host, proxy.port, is_secure=proxy.scheme == "https")
            if not self._is_secure:
                return connection
            head = request_head("CONNECT", self._authority, self._authority, proxy.headers)
            answer = await connection.ask(head, b"")
        except OSError as error:
            raise UnreachableError(_reason(error), is_proxys=True) from error
        if not 200 <= answer.status < 300:
            answer.close()
            raise UnreachableError(f"{answer.status} {answer.reason}".rstrip(), is_proxys=True)
        return connection

    async def _open(self, new: NewConnection, name: str, port: int, *, is_secure: bool) -> ClientConnection:
        loop = asyncio.get_running_loop()
        trust = await self._trusted() if is_secure else None
        hostname = name.rstrip(".") if is_secure else None
        socket = await connected_socket(name, port)
        _, connection = await loop.create_connection(new, sock=socket, ssl=trust, server_hostname=hostname)
        return connection

    async def _trusted(self) -> ssl.SSLContext:
        """Return what certificates are checked by; to read it takes tens of milliseconds, in a thread."""
        if self._trust is None:
            self._trust = await asyncio.to_thread(ssl.create_default_context)
            self._trust.set_alpn_protocols(["http/1.1"])
        return self._trust


class ChildTcpConnector(TcpConnector):
    """Connects to a child on a port: no proxy has a say, and its silence is its work, as on a socket."""

    options = ConnectionOptions(rest_seconds=4)  # uvicorn's own connections rest 5 seconds

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Connect to `port` of an address of this machine."""
        super().__init__(f"http://{f'[{host}]' if ':' in host else host}:{port}", None)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error})"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return error.strerror or str(error) or type(error).__name__
