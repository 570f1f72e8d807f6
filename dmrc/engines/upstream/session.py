"""The HTTP client of an upstream, over TCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

from dmrc import __version__
from dmrc.answer import Replica, WrappedAnswer
from dmrc.decompression import NOT_DECODED, Decoder, decoder_of
from dmrc.engines.http_client.connectors import UnreachableError
from dmrc.engines.http_client.http_answer import HttpAnswer
from dmrc.engines.http_client.session import HttpSession
from dmrc.engines.http_client.tcp_connector import TcpConnector
from dmrc.errors import UpstreamError
from dmrc.project import UpstreamPlace
from dmrc.proxies import Proxy, proxy_for
from dmrc.streaming import Sink, pour

_LOOK_SECONDS = 5.0

Blame = Callable[[Exception], UpstreamError]
"""Turns what breaks an answer off into what the caller should see."""


class UpstreamAnswer(WrappedAnswer):
    """One answer; see `Answer`. What its server says of replicas of its own is not believed."""

    def __init__(self, answer: HttpAnswer, blame: Blame, key: str | None = None) -> None:
        """Read `answer`; what breaks it off goes through `blame`.

        In an error `key` is left out: some servers quote it, and the caller is not to know it.

        Raises:
            UpstreamError: It is compressed, though nobody asked for that, and in a way that nothing here reads.
        """
        super().__init__(answer)
        self._blame = blame
        encoding = answer.headers.get("content-encoding", "identity").strip().lower()
        decoder = decoder_of(encoding)
        if decoder is None and encoding not in ("", "identity"):
            raise blame(ConnectionError(f"it answered in '{encoding}', and was asked not to"))
        secret = key.encode() if key and answer.status >= 400 else None
        self._changed = self._otherwise(decoder, secret) if decoder or secret else None

    @property
    def replica(self) -> Replica | None:
        """Return None: it is one server."""
        return None

    async def into(self, sink: Sink) -> None:
        """Give the body as it comes. One that is compressed may grow: no more is given of it than is taken."""
        try:
            await (self._answer.into(sink) if self._changed is None else pour(self._changed, sink))
        except ConnectionError as error:
            raise self._blame(error) from error

    def close(self) -> None:
        """Let go of it; see `Answer`."""
        super().close()
        self._changed = None  # it holds this answer, and with it what was read of it

    async def _otherwise(self, decoder: Decoder | None, secret: bytes | None) -> AsyncIterator[bytes]:
        """Yield the body without compression, and without a secret."""
        async for piece in self._answer if decoder is None else self._decoded(decoder):
            yield piece if secret is None else piece.replace(secret, b"[redacted]")

    async def _decoded(self, decoder: Decoder) -> AsyncIterator[bytes]:
        is_empty = True
        try:
            async for chunk in self._answer:
                is_empty = False
                decoder.feed(chunk)
                while piece := decoder.take():
                    yield piece
            if not is_empty:
                decoder.check_end()
        except NOT_DECODED as error:
            raise self._blame(error) from error


class UpstreamSession:
    """The client of an upstream; see `Session`. The key goes to the upstream's own host: it follows no redirect.

    A proxy is that of the environment in which the daemon was started.

    Certificates are checked. A request on a kept connection that the server has closed is sent again, once.
    """

    def __init__(self, upstream: UpstreamPlace, key: str | None) -> None:
        """Connect at the first request.

        Raises:
            SettingError: The environment names a proxy that is none.
            UpstreamError: Its URL is none, or the key cannot be sent.
        """
        self.model: str | None = upstream.model
        self.name = f"upstream '{upstream.url}'"
        """What messages call it."""
        self._upstream = upstream
        self._key = key
        self._headers = {"accept": "*/*", "user-agent": f"dmrc/{__version__}", "accept-encoding": "identity"}
        if key:
            if not key.isprintable():
                raise UpstreamError(f"the key in {upstream.key} has a line break in it", remedy="Write it in one line")
            self._headers["authorization"] = f"Bearer {key}".encode().decode("latin-1")  # a head is sent as Latin-1
        try:
            self._proxy = proxy_for(upstream.url)
            self._connector = TcpConnector(upstream.url, self._proxy)
        except ValueError as error:
            message = f"upstream '{upstream.url}' is not a URL: {error}"
            raise UpstreamError(message, remedy="Check x-dmrc.upstream") from error
        self._session = HttpSession(self._connector)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> UpstreamAnswer:
        """Send a request; see `Session`.

        Raises:
            UpstreamError: It cannot be reached, or is somewhere else.
        """
        path = path.removeprefix("/v1")
        try:
            return self._read(await self._session.post(path, {**self._headers, **headers}, body), path)
        except ConnectionError as error:
            raise self._unreachable(error) from error

    async def get(self, path: str) -> UpstreamAnswer:
        """Ask for a document; see `Session`.

        Raises:
            UpstreamError: It cannot be reached, or is somewhere else.
        """
        path = path.removeprefix("/v1")
        try:
            return self._read(await self._session.get(path, self._headers), path)
        except ConnectionError as error:
            raise self._unreachable(error) from error

    def _read(self, answer: HttpAnswer, path: str) -> UpstreamAnswer:
        """Return what can be read; let go of an answer that is the proxy's, or says that the upstream is elsewhere."""
        try:
            if self._proxy is not None and answer.status == 407:
                raise self._by_proxy(self._proxy, "407")
            if 300 <= answer.status < 400:
                location = _without_secrets(answer.headers.get("location", "another place"))
                url = self._upstream.url + path
                raise UpstreamError(f"upstream '{url}' is at {location}", remedy="Write that into x-dmrc.upstream")
            return UpstreamAnswer(answer, self._unreachable, self._key)
        except UpstreamError:
            answer.close()
            raise

    async def check(self) -> int:
        """Ask for the list of models, and return the status; any will do, but that the key is refused.

        Raises:
            UpstreamError: It cannot be reached, or refuses the key.
        """
        variable = self._upstream.key
        # Not kept: the first request has a connection of its own, so none is sent twice that the server took once.
        session = HttpSession(self._connector)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                with closing(await session.get("/models", {**self._headers, "connection": "close"})) as answer:
                    status = answer.status
        except (ConnectionError, TimeoutError) as error:
            raise self._unreachable(error) from error
        finally:
            await session.close()
        if self._proxy is not None and status == 407:
            raise self._by_proxy(self._proxy, "407")
        if status == 401:
            remedy = f"Check the key in {variable}" if variable else "Name the variable that holds one: upstream.key"
            raise UpstreamError(f"{self.name} wants another key (401)", remedy=remedy)
        return status

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _by_proxy(self, proxy: Proxy, reason: str) -> UpstreamError:
        """Return the error for what a proxy said, or for not reaching it."""
        message = f"{self.name} cannot be reached through proxy '{proxy.address}'"
        if reason.startswith("407"):
            return UpstreamError(message, remedy=f"{proxy.wish}, and run: dmrc stop-runner")
        return UpstreamError(f"{message}: {reason}", remedy=f"Check {proxy.variable}")

    def _unreachable(self, error: Exception) -> UpstreamError:
        if isinstance(error, UnreachableError):
            if self._proxy is not None and error.is_proxys:
                return self._by_proxy(self._proxy, error.reason)
            reason = error.reason
        elif isinstance(error, TimeoutError):
            reason = "it does not answer in time"
        else:
            reason = str(error) or type(error).__name__
        return UpstreamError(
            f"{self.name} broke off or cannot be reached: {reason}",
            remedy="Check that it runs, and x-dmrc.upstream",
        )


def _without_secrets(location: str) -> str:
    """Return where a redirect leads, without what is for the server alone."""
    parts = urlsplit(location)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
