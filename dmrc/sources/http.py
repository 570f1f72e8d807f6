"""HTTP as sources use it: connections, redirects, ranges of a body, and what its failures mean."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import cast
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, IncompleteRead, LocationValueError, ProtocolError, ProxyError, SSLError

from dmrc import __version__
from dmrc.errors import RegistryError
from dmrc.proxies import Proxy, proxy_for
from dmrc.proxies import is_loopback as is_loopback_name
from dmrc.sources.connections import MOST_CONNECTIONS
from dmrc.sources.request import FileRange, with_file_ranges
from dmrc.sources.retry import TransientError

_TIMEOUT = urllib3.Timeout(connect=5, read=20)
# A registry may hash or move a large blob before it answers.
_UPLOAD_TIMEOUT = urllib3.Timeout(connect=5, read=300)
# What the kernel holds for us is lost when we are killed, and by itself it lets a buffer grow to many MiB. It doubles
# this number, bookkeeping included, so that five connections hold at most 5 MiB. Source: socket(7), SO_RCVBUF.
_RECEIVE_BUFFER_BYTES = 512 << 10
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)
_REDIRECTS = (301, 302, 303, 307, 308)


class HttpClient:
    """Connections to one server, and to those that it redirects to. Threads may share it."""

    def __init__(self, url: str, subject: str) -> None:
        """Talk to the server of `url`; `subject` is how errors call it: `registry 'ghcr.io'`.

        Only a server that is itself used by plain http may redirect to plain http.
        """
        self.subject = subject
        self._is_plain = url.startswith("http://")
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}
        self._open: set[urllib3.BaseHTTPResponse] = set()
        self._is_aborted = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for pool in list(self._pools.values()):
            pool.clear()

    def abort(self) -> None:
        """Make reads that block in other threads end at once."""
        with self._lock:
            self._is_aborted = True
            for response in self._open:
                with contextlib.suppress(ValueError, RuntimeError, OSError):
                    response.shutdown()

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | FileRange | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer, whose body is yet to be read; redirects are not followed.

        Raises:
            SettingError: The environment names a proxy that is none.
            RegistryError: The proxy refuses.
            TransientError: The proxy cannot be reached.
            urllib3.exceptions.HTTPError: The server cannot; within `errors` it is one of ours.
        """
        sent = {"User-Agent": f"dmrc/{__version__}", "Accept-Encoding": "identity", **headers}
        if isinstance(body, FileRange):
            sent["Content-Length"] = str(body.end - body.start)
        proxy = proxy_for(url)
        try:
            response = self._pool(proxy).request(
                method,
                url,
                headers=sent,
                body=cast("list[bytes]", [body]) if isinstance(body, FileRange) else body,
                timeout=_UPLOAD_TIMEOUT if method in ("PATCH", "PUT") else _TIMEOUT,
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except ProxyError as error:
            raise self._by_proxy(proxy, str(error.original_error).rpartition(": ")[2]) from error
        except HTTPError as error:
            if proxy is None or isinstance(error, LocationValueError) or _is_untrusted(error):
                raise
            raise TransientError(f"{self._way(proxy)}: {_reason(error)}") from error
        if proxy is not None and response.status == 407:
            dismiss(response)
            raise self._by_proxy(proxy, "407")
        return response

    def _pool(self, proxy: Proxy | None) -> urllib3.PoolManager:
        """Return the connections through one proxy, or through none."""
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = with_file_ranges(_connections(proxy))
            return self._pools[proxy]

    def _way(self, proxy: Proxy | None) -> str:
        return f"{self.subject} cannot be reached through proxy '{proxy.address if proxy is not None else ''}'"

    def _by_proxy(self, proxy: Proxy | None, reason: str) -> RegistryError:
        """Return the error for what a proxy said, or for not reaching it."""
        message = self._way(proxy)
        status = re.search(r"\b[45]\d\d\b", reason)
        if proxy is not None and status is not None and status[0] == "407":
            return RegistryError(message, remedy=proxy.wish)
        said = f"{message}: {reason}"
        if status is not None and status[0] < "500":
            return RegistryError(said, remedy="Ask who runs it to let this host through, or name the host in NO_PROXY")
        return TransientError(said)

    def redirection(self, url: str, response: urllib3.BaseHTTPResponse) -> str | None:
        """Return where the answer of `url` sends us, after closing it; None when it is no redirect.

        Raises:
            RegistryError: It leads to where plain http would be used, or to nonsense.
        """
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return None
        dismiss(response)
        target = joined(url, location)
        if not self.may_use(target):
            raise RegistryError(f"{self.subject} redirects to {target[:200]!r}, which is not https")
        return target

    def may_use(self, url: str) -> bool:
        """Return whether a URL that the server gave us is safe enough."""
        return url.startswith("https://") or (self._is_plain and url.startswith("http://"))

    @contextlib.contextmanager
    def reading(self, response: urllib3.BaseHTTPResponse) -> Iterator[None]:
        """Make the answer one that `abort` ends, and close it after the block."""
        with self._lock:
            self._open.add(response)
        try:
            if self._is_aborted:
                raise TransientError(f"the transfer from {self.subject} was ended")
            yield
        finally:
            with self._lock:
                self._open.discard(response)
            dismiss(response)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what urllib3 raises into our errors.

        Raises:
            TransientError: The server cannot be reached, or the connection broke.
            RegistryError: Its certificate or its address is bad.
        """
        try:
            yield
        except HTTPError as error:
            if isinstance(error, LocationValueError) or _is_untrusted(error):
                raise RegistryError(f"{self.subject} cannot be used: {error}") from error
            cause = error.args[-1] if isinstance(error, ProtocolError) else error
            if isinstance(cause, IncompleteRead):
                raise TransientError(f"{self.subject} broke off before the end") from error
            raise TransientError(f"{self.subject} cannot be reached: {_reason(error)}") from error


class HttpPart:
    """A body, or a range of one; see `Part`."""

    def __init__(self, response: urllib3.BaseHTTPResponse, start: int, total_bytes: int | None) -> None:
        """Read what the server sends from byte `start` on."""
        self.start = start
        self.is_whole = response.status == 200
        self.total_bytes = total_bytes
        self._response = response

    def read(self, size: int) -> bytes:
        """Return the bytes that have come, at least one and at most `size`; none at the end."""
        return self._response.read1(size)


Get = Callable[[Mapping[str, str]], AbstractContextManager[urllib3.BaseHTTPResponse]]
"""Sends a GET with headers, and yields an answer of status 200, 206 or 416; raises for any other."""


@contextlib.contextmanager
def open_part(get: Get, start: int, end: int) -> Iterator[HttpPart]:
    """Ask for the bytes from `start` up to and without `end`; see `Origin.open`.

    A server that answers a range with 416 or with another range is asked for the whole body.
    Source: https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
    """
    with get({"Range": f"bytes={start}-{end - 1}"}) as response:
        if (part := _part(response, start)) is not None:
            yield part
            return
    with get({}) as response:
        if (part := _part(response, 0)) is None:
            raise RegistryError(f"the server answers {response.status} to a request for a whole body")
        yield part


def _part(response: urllib3.BaseHTTPResponse, start: int) -> HttpPart | None:
    """Return what an answer holds; None when it is not what was asked for."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return HttpPart(response, 0, int(length) if length.isascii() and length.isdecimal() else None)
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if response.status != 206 or match is None or int(match[1]) != start:
        return None
    return HttpPart(response, start, None if match[2] == "*" else int(match[2]))


def failure(answer: str, response: urllib3.BaseHTTPResponse) -> RegistryError:
    """Return the error for a status that is none of the expected; `answer` tells of it."""
    if response.status not in (408, 429) and response.status < 500:
        return RegistryError(answer)
    header = response.headers.get("Retry-After", "")
    seconds = int(header) if header.isascii() and header.isdecimal() and len(header) < 9 else 0
    asks = f", and asks to wait {seconds} seconds" if seconds else ""
    return TransientError(answer + asks, retry_after_seconds=seconds)


def dismiss(response: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection when the body is at its end, and close it when more would come."""
    if not isinstance(response, urllib3.HTTPResponse) or not response.isclosed():
        response.close()


def is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is this machine."""
    return is_loopback_name(urlsplit(f"//{host}").hostname or "")


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, the bounds within which credentials stay."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _connections(proxy: Proxy | None) -> urllib3.PoolManager:
    """Return connections through a proxy, or direct ones."""
    options = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)]
    if proxy is None:
        return urllib3.PoolManager(timeout=_TIMEOUT, maxsize=MOST_CONNECTIONS, socket_options=options)
    return urllib3.ProxyManager(
        proxy.url,
        proxy_headers=proxy.headers,
        timeout=_TIMEOUT,
        maxsize=MOST_CONNECTIONS,
        socket_options=options,
    )


def _reason(error: HTTPError) -> str:
    """Return why a server was not reached, in words for one line."""
    cause = error.args[-1] if isinstance(error, ProtocolError | SSLError) and error.args else error
    if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, http.client.RemoteDisconnected):
        return "its answer is not HTTP"
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"TLS fails ({cause.reason.replace('_', ' ').lower()})"
    reason = str(cause).rpartition(": ")[2]
    return "".join(filter(str.isprintable, reason)) or type(cause).__name__


def _is_untrusted(error: HTTPError) -> bool:
    """Return whether a certificate was refused, which no second attempt changes."""
    return isinstance(error, SSLError) and any(isinstance(cause, ssl.CertificateError) for cause in error.args)


def joined(url: str, location: str) -> str:
    """Return where a redirect or an upload leads; empty when that makes no sense."""
    try:
        target = urljoin(url, location)
        origin_of(target)
    except ValueError:
        return ""
    return target
