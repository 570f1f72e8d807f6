"""A file at a URL, as an `Origin` of a download."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import urllib3

from dmrc.errors import RegistryError
from dmrc.sources.download import ByteRange
from dmrc.sources.http import HttpClient, failure, open_part, origin_of

_REDIRECTS = 5

RefusalCheck = Callable[[int], Exception | None]
"""Returns the error for a status, or None where there is nothing special to say."""


class UrlOrigin:
    """One file over HTTP. Its authorization goes to the host of its URL and nowhere else. Threads may share it."""

    def __init__(self, client: HttpClient, url: str, authorization: str | None, refused: RefusalCheck) -> None:
        """Ask `client` for `url`; `refused` explains the statuses that mean something there."""
        self._client = client
        self._url = url
        self._authorization = authorization
        self._refused = refused

    def open(self, start: int, end: int) -> AbstractContextManager[ByteRange]:
        """GET a range; see `Origin.open`."""
        return open_part(self._get, start, end)

    def probe(self) -> tuple[int, str]:
        """Return the size of the file, and a mark that changes when the file does (its ETag, or when it was changed).

        Raises:
            RegistryError: The server does not say how large the file is.
        """
        with self._get({"Range": "bytes=0-0"}) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status == 200:
                total = response.headers.get("Content-Length", "")
            mark = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if not (total.isascii() and total.isdecimal()):
            raise RegistryError(f"{self._client.subject} does not say how large '{self._url}' is")
        return int(total), mark

    @contextlib.contextmanager
    def _get(self, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        with self._client.errors():
            response = self._follow(headers)
            with self._client.reading(response):
                if response.status not in (200, 206, 416):
                    answer = f"{self._client.subject} answers {response.status} to a request for '{self._url}'"
                    raise self._refused(response.status) or failure(answer, response)
                yield response

    def _follow(self, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        url = self._url
        for _ in range(_REDIRECTS):
            sent = dict(headers)
            if self._authorization and origin_of(url) == origin_of(self._url):
                sent["Authorization"] = self._authorization
            response = self._client.request("GET", url, sent)
            target = self._client.redirection(url, response)
            if target is None:
                return response
            url = target
        raise RegistryError(f"{self._client.subject} redirects more than {_REDIRECTS} times")
