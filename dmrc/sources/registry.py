"""One repository of an OCI registry over HTTP: authentication, redirects, errors, retries.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md and
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import random
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, SSLError

from dmrc import __version__
from dmrc.errors import ModelNotFoundError, RegistryAuthError, RegistryError
from dmrc.reference import Reference
from dmrc.sources.authentication import Authentication, Challenge
from dmrc.sources.credentials import Credentials
from dmrc.sources.source import Transfer

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30
_TIMEOUT = urllib3.Timeout(connect=5, read=30)
_REDIRECTS = 5
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_T = TypeVar("_T")


class TransientError(RegistryError):
    """A failure that may pass: a broken connection, 429, 5xx."""

    def __init__(self, message: str, *, retry_after_seconds: int = 0) -> None:
        """Say what failed, and when the server wants to be asked again; 0 when it does not say."""
        super().__init__(message, remedy="Check the network and the registry, then run the command again")
        self.retry_after_seconds = retry_after_seconds


def retry(action: Callable[[], _T], transfer: Transfer, *, progressed: Callable[[], bool] = lambda: False) -> _T:
    """Run `action` until it succeeds, at most 3 times in a row without progress.

    Raises:
        RegistryError: It failed each time, or in a way that does not pass.
        CancelledError: The transfer was cancelled.
    """
    failures = 0
    while True:
        transfer.check()
        try:
            return action()
        except TransientError as error:
            transfer.check()
            _log.info("%s; attempt %d of %d", error.message, failures + 1, _ATTEMPTS)
            failures = 1 if progressed() else failures + 1
            if failures == _ATTEMPTS or error.retry_after_seconds > _LONGEST_DELAY_SECONDS:
                raise
            delay = _FIRST_DELAY_SECONDS * 2 ** (failures - 1) * random.uniform(0.5, 1.5)  # noqa: S311
            transfer.pause(max(delay, error.retry_after_seconds))


class Registry:
    """One repository. Threads may share it."""

    def __init__(self, reference: Reference, credentials: Credentials | None, *, insecure: bool) -> None:
        """Talk to the registry of `reference`; `insecure` allows plain http beyond loopback."""
        self._reference = reference
        self._host = reference.registry
        self._is_plain = insecure or _is_loopback(self._host)
        host = _HUB_HOST if self._host == _HUB else self._host
        self._base = f"{'http' if self._is_plain else 'https'}://{host}/v2/{reference.repository}/"
        self._pool = _pool(self._base)
        self._authentication = Authentication(reference, credentials, self._fetch_token)
        self._has_credentials = credentials is not None
        self._open: set[urllib3.BaseHTTPResponse] = set()
        self._is_aborted = False
        self._lock = threading.Lock()

    def __enter__(self) -> Registry:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._pool.clear()

    @contextlib.contextmanager
    def get(self, path: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """GET `manifests/latest` or `blobs/sha256:…`; the body is read within the block. 416 is let through.

        Raises:
            ModelNotFoundError: There is no such manifest.
            RegistryAuthError: Login is needed, or refused.
            TransientError: It failed, and may succeed later.
            RegistryError: It failed.
        """
        with self._errors():
            response = self._authenticated(path, headers)
            with self._lock:
                self._open.add(response)
            try:
                if self._is_aborted:
                    raise TransientError(f"the transfer from registry '{self._host}' was ended")
                if response.status not in (200, 206, 416):
                    raise self._refused(response, path)
                yield response
            finally:
                with self._lock:
                    self._open.discard(response)
                _dismiss(response)

    def abort(self) -> None:
        """Make reads that block in other threads end at once."""
        with self._lock:
            self._is_aborted = True
            for response in self._open:
                with contextlib.suppress(ValueError, RuntimeError, OSError):
                    response.shutdown()

    def _authenticated(self, path: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        used = self._authentication.header
        response, is_own = self._follow(self._base + path, headers, used)
        challenge = Challenge.parse(response.headers.get("WWW-Authenticate", ""))
        # Another host, reached by a redirect, has no say in where our credentials go.
        if response.status != 401 or not is_own or not self._authentication.answer(challenge, refused=used):
            return response
        _dismiss(response)
        return self._follow(self._base + path, headers, self._authentication.header)[0]

    def _follow(
        self, url: str, headers: Mapping[str, str], authorization: str | None
    ) -> tuple[urllib3.BaseHTTPResponse, bool]:
        """GET along redirects, and return whether the answer is still from the registry's own scheme, host and port.

        Nothing else gets the Authorization.
        """
        for _ in range(_REDIRECTS):
            is_own = _origin(url) == _origin(self._base)
            sent = {**headers, "Authorization": authorization} if authorization and is_own else dict(headers)
            response = self._request("GET", url, sent)
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or location is None:
                return response, is_own
            _dismiss(response)
            url = _joined(url, location)
            if not self._may_use(url):
                raise RegistryError(f"registry '{self._host}' redirects to {url[:200]!r}, which is not https")
        raise RegistryError(f"registry '{self._host}' redirects more than {_REDIRECTS} times")

    def _may_use(self, url: str) -> bool:
        return url.startswith("https://") or (self._is_plain and url.startswith("http://"))

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        common = {"User-Agent": f"dmrc/{__version__}", "Accept-Encoding": "identity"}
        return self._pool.request(
            method, url, headers={**common, **headers}, body=body, preload_content=False, redirect=False, retries=False
        )

    def _fetch_token(self, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        if not self._may_use(url):
            raise RegistryAuthError(f"registry '{self._host}' wants credentials sent to {url[:200]!r}, not by https")
        response = self._request("POST" if body else "GET", url, headers, body)
        if response.status != 200:
            raise self._refused(response, "token")
        data: bytes = response.read(1 << 20)
        _dismiss(response)
        return data

    def _refused(self, response: urllib3.BaseHTTPResponse, path: str) -> Exception:
        """Return the error that an answer means."""
        name = self._reference.display()
        status, text = response.status, _message(response)
        is_auth = status in (401, 403)
        if status == 404 and path.startswith("manifests/"):
            return ModelNotFoundError(f"model '{name}' is not in the registry '{self._host}'", remedy="Check its name")
        if is_auth and self._host == _HUB and not self._has_credentials:
            # Docker Hub does not tell a missing repository from a private one.
            return ModelNotFoundError(
                f"model '{name}' is not in the registry '{_HUB}', or is private",
                remedy="Check its name, or run: docker login",
            )
        if is_auth:
            reason = "refuses the credentials" if self._has_credentials else "wants a login"
            login = "docker login" if self._host == _HUB else f"docker login {self._host}"
            return RegistryAuthError(f"registry '{self._host}' {reason} for '{name}'{text}", remedy=f"Run: {login}")
        answer = f"registry '{self._host}' answers {status} {_phrase(status)} to a request for '{name}'{text}"
        if status in (408, 429) or status >= 500:
            header = response.headers.get("Retry-After", "")
            seconds = int(header) if header.isascii() and header.isdecimal() and len(header) < 9 else 0
            asks = f", and asks to wait {seconds} seconds" if seconds else ""
            return TransientError(answer + asks, retry_after_seconds=seconds)
        return RegistryError(answer)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except HTTPError as error:
            if isinstance(error, LocationValueError) or _is_untrusted(error):
                raise RegistryError(f"registry '{self._host}' cannot be used: {error}") from error
            reason = str(error).rpartition(": ")[2] or type(error).__name__
            raise TransientError(f"registry '{self._host}' cannot be reached: {reason}") from error


def _dismiss(response: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection when the body is at its end, and close it when more would come."""
    if not isinstance(response, urllib3.HTTPResponse) or not response.isclosed():
        response.close()


def _pool(url: str) -> urllib3.PoolManager:
    """Return connections, through the proxy that the environment names for this host."""
    host, scheme = urlsplit(url).hostname or "", urlsplit(url).scheme
    proxy = urllib.request.getproxies().get(scheme)
    if proxy is None or _is_loopback(host) or urllib.request.proxy_bypass(host):
        return urllib3.PoolManager(timeout=_TIMEOUT, maxsize=8)
    return urllib3.ProxyManager(proxy, timeout=_TIMEOUT, maxsize=8)


def _is_untrusted(error: HTTPError) -> bool:
    """Return whether a certificate was refused, which no second attempt changes."""
    return isinstance(error, SSLError) and any(isinstance(cause, ssl.CertificateError) for cause in error.args)


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost" or name.endswith(".localhost")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _joined(url: str, location: str) -> str:
    """Return where a redirect leads; empty when that makes no sense."""
    try:
        target = urljoin(url, location)
        _origin(target)
    except ValueError:
        return ""
    return target


def _message(response: urllib3.BaseHTTPResponse) -> str:
    """Return the registry's own words, where it has some. Source: distribution-spec, section Error Codes."""
    try:
        text = json.loads(response.read(4096))["errors"][0]["message"]
    except (ValueError, LookupError, TypeError, HTTPError):
        return ""
    return f": {text[:200]}" if isinstance(text, str) and text.isprintable() and text else ""


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
