"""One repository of an OCI registry over HTTP: authentication, redirects, errors.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md and
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from dmrc.errors import ModelNotFoundError, RegistryAuthError, RegistryError
from dmrc.reference import Reference
from dmrc.sources.authentication import Authentication, Challenge
from dmrc.sources.credentials import Credentials
from dmrc.sources.download import ByteRange
from dmrc.sources.http import HttpClient, dismiss, failure, is_loopback, joined, open_part, origin_of
from dmrc.sources.request import RegistryRequest

_REDIRECTS = 5
_PUSH = "push"
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"

_Ask = Callable[[str | None], tuple[urllib3.BaseHTTPResponse, bool]]
"""Sends a request with an `Authorization`; returns the answer, and whether it is the registry's own."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a registry, or a mirror of it, is reached."""

    host: str
    """What errors and `docker login` call it, and whose credentials it gets: `docker.io`, `localhost:5000`."""
    url: str
    """`https://registry-1.docker.io`."""
    is_mirror: bool = False
    """Whether another endpoint has the same, so that one failure is enough."""

    @classmethod
    def of_registry(cls, registry: str, *, insecure: bool) -> Endpoint:
        """Return the registry's own; plain http is for loopback, or for all when `insecure`."""
        scheme = "http" if insecure or is_loopback(registry) else "https"
        return cls(registry, f"{scheme}://{_HUB_HOST if registry == _HUB else registry}")

    @classmethod
    def of_mirror(cls, url: str) -> Endpoint:
        """Return a mirror; plain http is used where its URL says so."""
        return cls(urlsplit(url).netloc, url.rstrip("/"), is_mirror=True)


class Registry:
    """One repository. Threads may share it."""

    def __init__(
        self, endpoint: Endpoint, reference: Reference, credentials: Credentials | None, scopes: Sequence[str] = ()
    ) -> None:
        """Talk to the repository of `reference` there, with the endpoint's own credentials.

        `scopes` are asked of a token server instead of those that the registry names: `repository:ai/x:pull,push`.
        """
        self._host = endpoint.host
        self.attempts = 1 if endpoint.is_mirror else 3
        """How often a request for a document is worth its time."""
        self._reference = reference
        self._base = f"{endpoint.url}/v2/{reference.repository}/"
        self._http = HttpClient(self._base, f"registry '{endpoint.host}'")
        self._authentication = Authentication(reference, credentials, self._fetch_token, scopes)
        self._has_credentials = credentials is not None
        self._targets: dict[str, str] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._http.close()

    def abort(self) -> None:
        """Make reads that block in other threads end at once."""
        self._http.abort()

    @contextlib.contextmanager
    def get(self, path: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """GET `manifests/latest` or `blobs/sha256:…`; the body is read within the block. 416 is let through.

        Raises:
            ModelNotFoundError: There is no such manifest.
            RegistryAuthError: Login is needed, or refused.
            TransientError: It failed, and may succeed later.
            RegistryError: It failed.
        """
        with self._http.errors():
            response = self._from_target(path, headers) or self._asked(partial(self._follow, path, headers))
            with self._http.reading(response):
                if response.status not in (200, 206, 416):
                    raise self._refused(response, path)
                yield response

    @contextlib.contextmanager
    def send(self, request: RegistryRequest, accepted: Sequence[int]) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send a request for a push, and yield an answer of a status in `accepted`; redirects are not followed.

        Raises:
            RegistryAuthError: Login is needed, or refused.
            TransientError: It failed, and may succeed later.
            RegistryError: It failed.
        """
        with self._http.errors():
            url = joined(self._base, request.target)
            if not self._http.may_use(url):
                raise RegistryError(f"registry '{self._host}' wants an upload to {url[:200]!r}, which is not https")
            # An upload may go on at another host, which gets no credentials of ours.
            is_own = origin_of(url) == origin_of(self._base)
            response = self._asked(lambda header: (self._sent(request, url, header if is_own else None), is_own))
            with self._http.reading(response):
                if response.status not in accepted:
                    raise self._refused(response, _PUSH)
                yield response

    def _sent(self, request: RegistryRequest, url: str, authorization: str | None) -> urllib3.BaseHTTPResponse:
        headers = {**request.headers, **({"Authorization": authorization} if authorization else {})}
        return self._http.request(request.method, url, headers, request.body)

    def blob(self, digest: str) -> BlobOrigin:
        """Return where the bytes of a blob come from."""
        return BlobOrigin(self, digest)

    def _from_target(self, path: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse | None:
        """GET a blob from where the registry redirected to before; None when it did not, or that is over."""
        target = self._targets.get(path)
        if target is None:
            return None
        with contextlib.suppress(HTTPError):
            response = self._http.request("GET", target, headers)
            if response.status in (200, 206):
                return response
            dismiss(response)
        # Such URLs are signed for some minutes: the registry gives a new one.
        self._targets.pop(path, None)
        return None

    def _asked(self, ask: _Ask) -> urllib3.BaseHTTPResponse:
        """Ask, and answer challenges until a credential is refused that was got for this very request.

        Another host, reached by a redirect, has no say in where our credentials go.
        """
        header, is_new = self._authentication.header, False
        while True:
            response, is_own = ask(header)
            if response.status != 401 or not is_own or is_new:
                return response
            challenge = Challenge.parse(response.headers.get("WWW-Authenticate", ""))
            answer = self._authentication.answer(challenge, refused=header)
            if answer is None:
                return response
            dismiss(response)
            header, is_new = answer.header, answer.is_new

    def _follow(
        self, path: str, headers: Mapping[str, str], authorization: str | None
    ) -> tuple[urllib3.BaseHTTPResponse, bool]:
        """GET along redirects, and return whether the answer is still from the registry's own scheme, host and port.

        Nothing else gets the Authorization.
        """
        url = self._base + path
        for _ in range(_REDIRECTS):
            is_own = origin_of(url) == origin_of(self._base)
            sent = {**headers, "Authorization": authorization} if authorization and is_own else dict(headers)
            response = self._http.request("GET", url, sent)
            target = self._http.redirection(url, response)
            if target is None:
                if not is_own and response.status in (200, 206):
                    self._targets[path] = url
                return response, is_own
            url = target
        raise RegistryError(f"registry '{self._host}' redirects more than {_REDIRECTS} times")

    def _fetch_token(self, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        if not self._http.may_use(url):
            raise RegistryAuthError(f"registry '{self._host}' wants credentials sent to {url[:200]!r}, not by https")
        response = self._http.request("POST" if body else "GET", url, headers, body)
        if response.status != 200:
            raise self._refused(response, "token")
        data: bytes = response.read(1 << 20)
        dismiss(response)
        return data

    def _refused(self, response: urllib3.BaseHTTPResponse, path: str) -> Exception:
        """Return the error that an answer means."""
        name = self._reference.display()
        status, text = response.status, _message(response)
        is_auth = status in (401, 403)
        is_push = path == _PUSH
        if status == 404 and path.startswith("manifests/"):
            return ModelNotFoundError(f"model '{name}' is not in the registry '{self._host}'", remedy="Check its name")
        if is_auth and self._host == _HUB and not self._has_credentials and not is_push:
            # Docker Hub does not tell a missing repository from a private one.
            return ModelNotFoundError(
                f"model '{name}' is not in the registry '{_HUB}', or is private",
                remedy="Check its name, or run: docker login",
            )
        if is_auth:
            reason = "refuses the credentials" if self._has_credentials else "wants a login"
            login = "docker login" if self._host == _HUB else f"docker login {self._host}"
            purpose = f"a push to '{name}'" if is_push else f"'{name}'"
            return RegistryAuthError(f"registry '{self._host}' {reason} for {purpose}{text}", remedy=f"Run: {login}")
        answer = f"registry '{self._host}' answers {status} {_phrase(status)} to a request for '{name}'{text}"
        if is_push and status == 404:
            remedy = "Check the name; some registries want a repository made before a push"
            return RegistryError(answer, remedy=remedy)
        return failure(answer, response)


class BlobOrigin:
    """A blob in a registry, as an `Origin` of a download."""

    def __init__(self, registry: Registry, digest: str) -> None:
        """Ask `registry` for the blob."""
        self._get = partial(registry.get, f"blobs/{digest}")

    def open(self, start: int, end: int) -> AbstractContextManager[ByteRange]:
        """GET a range; see `Origin.open`."""
        return open_part(self._get, start, end)


def _message(response: urllib3.BaseHTTPResponse) -> str:
    """Return the registry's own words, where it has some. Source: distribution-spec, section Error Codes."""
    try:
        text = json.loads(response.read(4096))["errors"][0]["message"]
    except (ValueError, LookupError, TypeError, HTTPError):
        return ""
    return f": {text[:200]}" if isinstance(text, str) and text.isprintable() and text else ""


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
