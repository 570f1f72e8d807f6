"""The HTTP client of an upstream, over TCP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from dmrc.errors import UpstreamError
from dmrc.project import Upstream
from dmrc.proxies import Proxy, proxy_for

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 600.0
_LOOK_SECONDS = 5.0

Blame = Callable[[Exception], Exception]
"""Turns what the HTTP client raises into what the caller should see."""


class HttpAnswer:
    """One answer; see `Answer`."""

    def __init__(self, answer: aiohttp.ClientResponse, blame: Blame, key: str | None = None) -> None:
        """Read `answer`; what breaks it off goes through `blame`.

        In an error `key` is left out: some servers quote it, and the caller is not to know it.
        """
        self._answer = answer
        self._blame = blame
        self._key = key.encode() if key and answer.status >= 400 else None
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers.items()}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        try:
            while chunk := await self._answer.content.readany():
                yield chunk if self._key is None else chunk.replace(self._key, b"[redacted]")
        except (aiohttp.ClientError, OSError) as error:
            raise self._blame(error) from error

    def close(self) -> None:
        """Let go of it."""
        self._answer.close()


class UpstreamSession:
    """The client of an upstream; see `Session`. The key goes to the upstream's own host: it follows no redirect.

    A proxy is that of the environment in which the daemon was started.

    Certificates are checked. A request on a kept connection that the server has closed is sent again, twice at most.
    """

    def __init__(self, upstream: Upstream, key: str | None) -> None:
        """Connect at the first request.

        Raises:
            SettingError: The environment names a proxy that is none.
        """
        self._upstream = upstream
        self._key = key
        self._proxy = proxy_for(upstream.url)
        headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {key}"} if key else {})
        # An answer may take minutes; a silence of ten is a server that is gone.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        self._client = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers=headers,
            trace_configs=[_tracing()],
            proxy=None if self._proxy is None else self._proxy.url,
            proxy_auth=_login(self._proxy),
        )

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send a request under the upstream's own name of the model; see `Session`.

        Raises:
            UpstreamError: It cannot be reached, or is somewhere else.
        """
        url = self._upstream.url + path.removeprefix("/v1")
        data = json.dumps({**json.loads(body), "model": self._upstream.model}).encode()
        try:
            answer = await self._sent(url, data, headers)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        if self._proxy is not None and answer.status == 407:
            answer.close()
            raise self._by_proxy(self._proxy, "407")
        if 300 <= answer.status < 400:
            answer.close()
            location = _without_secrets(answer.headers.get("location", "another place"))
            raise UpstreamError(f"upstream '{url}' is at {location}", remedy="Write that into x-dmrc.upstream")
        return HttpAnswer(answer, self._unreachable, self._key)

    async def _sent(self, url: str, data: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Send a request; again only where a kept connection ended before any byte of an answer.

        A server that hangs up on a fresh connection had the request: it may have worked, and a paid one counts it.
        """
        for is_last in (False, False, True):
            connection = _Connection()
            try:
                return await self._client.post(
                    url, data=data, headers=headers, allow_redirects=False, trace_request_ctx=connection
                )
            except aiohttp.ServerDisconnectedError as error:
                if is_last or not connection.was_kept or not isinstance(error.message, str):
                    raise
        raise AssertionError("unreachable")

    async def check(self) -> None:
        """Ask for the list of models; any answer will do, but that the key is refused.

        Raises:
            UpstreamError: It cannot be reached, or refuses the key.
        """
        timeout = aiohttp.ClientTimeout(total=_LOOK_SECONDS)
        url, variable = self._upstream.url, self._upstream.key
        try:
            # Not kept: the first request has a connection of its own, so none is sent twice that the server took once.
            leave = {"connection": "close"}
            async with self._client.get(
                f"{url}/models", timeout=timeout, allow_redirects=False, headers=leave
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        if self._proxy is not None and status == 407:
            raise self._by_proxy(self._proxy, "407")
        if status == 401:
            remedy = f"Check the key in {variable}" if variable else "Name the variable that holds one: upstream.key"
            raise UpstreamError(f"upstream '{url}' wants another key (401)", remedy=remedy)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _by_proxy(self, proxy: Proxy, reason: str) -> UpstreamError:
        """Return the error for what a proxy said, or for not reaching it."""
        message = f"upstream '{self._upstream.url}' cannot be reached through proxy '{proxy.address}'"
        if reason.startswith("407"):
            return UpstreamError(message, remedy=f"{proxy.wish}, and run: dmrc stop-runner")
        return UpstreamError(f"{message}: {reason}", remedy=f"Check {proxy.variable}")

    def _unreachable(self, error: Exception) -> UpstreamError:
        if self._proxy is not None and isinstance(error, aiohttp.ClientHttpProxyError):
            return self._by_proxy(self._proxy, f"{error.status} {error.message}")
        if self._proxy is not None and isinstance(error, aiohttp.ClientProxyConnectionError):
            return self._by_proxy(self._proxy, error.os_error.strerror or str(error.os_error))
        if isinstance(error, TimeoutError):
            reason = "it does not answer in time"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = f"its certificate is not valid ({error.certificate_error})"
        elif isinstance(error, aiohttp.ClientConnectorError):
            reason = error.os_error.strerror or str(error.os_error)
        else:
            reason = str(error) or type(error).__name__
        return UpstreamError(
            f"upstream '{self._upstream.url}' broke off or cannot be reached: {reason}",
            remedy="Check that it runs, and x-dmrc.upstream",
        )


def _without_secrets(location: str) -> str:
    """Return where a redirect leads, without what is for the server alone."""
    parts = urlsplit(location)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _login(proxy: Proxy | None) -> aiohttp.BasicAuth | None:
    return None if proxy is None or proxy.user is None else aiohttp.BasicAuth(proxy.user, proxy.password, "utf-8")


@dataclass(slots=True)
class _Connection:
    """What is known of the connection of one request."""

    was_kept: bool = False


def _tracing() -> aiohttp.TraceConfig:
    """Return what notes for each request whether its connection was used before."""
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_kept)
    return tracing


async def _note_kept(
    _client: aiohttp.ClientSession, context: SimpleNamespace, _parameters: aiohttp.TraceConnectionReuseconnParams
) -> None:
    if isinstance(context.trace_request_ctx, _Connection):
        context.trace_request_ctx.was_kept = True
