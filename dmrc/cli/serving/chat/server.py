"""An OpenAI-compatible server: the gateway on loopback, or another one that the user names."""

from __future__ import annotations

import http.client
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from dmrc.errors import EngineError, InputError
from dmrc.proxies import Proxy, proxy_for

KEY_VARIABLE = "OPENAI_API_KEY"
"""Holds the key of a server that the user names."""

_IS_IT = "Check that it is the base URL of an OpenAI-compatible server, with /v1 at its end"


@dataclass(frozen=True, slots=True)
class ChatServer:
    """Where to ask."""

    url: str
    """Without a slash at its end: `http://127.0.0.1:12434/engines/v1`."""
    key: str | None = field(default=None, repr=False)
    """Sent to it, where there is one."""
    is_gateway: bool = False
    """Whether it is our own."""

    @classmethod
    def gateway(cls, port: int) -> Self:
        """Return the gateway of this user."""
        return cls(f"http://127.0.0.1:{port}/engines/v1", is_gateway=True)

    @classmethod
    def named(cls, url: str) -> Self:
        """Return the server at a URL that the user gave; its key is in the environment.

        Raises:
            InputError: It is no such URL.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # of a port that is no number
            is_usable = False
        if not is_usable:
            raise InputError(f"'{url}' must be the URL of a server", remedy="Give one as http://localhost:8000/v1")
        return cls(url.rstrip("/"), os.environ.get(KEY_VARIABLE) or None)

    @contextmanager
    def answer(self, method: str, path: str, body: str | None = None) -> Iterator[http.client.HTTPResponse]:
        """Send a request, `path` below the URL, and give its answer, which has the status 200.

        Raises:
            EngineError: The server cannot be reached, refuses or breaks off; in its words.
        """
        way = _Way.to(self.url)
        headers = {**way.headers, "content-type": "application/json", "user-agent": "dmrc-run"}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        connection = way.connection
        try:
            connection.request(method, f"{way.begin}{path}", body, headers)
            answer = connection.getresponse()
            if way.proxy is not None and answer.status == 407:
                raise OSError("407 Proxy Authentication Required")
            if answer.status != 200:
                raise self._refused(answer)
            yield answer
        except (OSError, http.client.HTTPException) as error:
            if self.is_gateway:
                raise EngineError(f"the gateway broke off: {error}", remedy="See: dmrc logs") from error
            by = "" if way.proxy is None else f" through proxy '{way.proxy.address}'"
            if way.proxy is not None and "407" in str(error):
                raise EngineError(f"'{self.url}' does not answer{by}", remedy=way.proxy.wish) from error
            raise EngineError(f"'{self.url}' does not answer{by}: {error}", remedy="Check that it runs") from error
        finally:
            connection.close()

    def _refused(self, answer: http.client.HTTPResponse) -> EngineError:
        body = answer.read()
        if (said := _error_text(body)) is not None:
            return EngineError(said)
        words = "".join(filter(str.isprintable, body.decode(errors="replace")))[:200]
        reason = f"{answer.status} {answer.reason}" + (f": {words}" if words else "")
        return EngineError(f"'{self.url}' answers {reason}", remedy=_IS_IT)

    def no_answer(self) -> EngineError:
        """Return the error for an answer that is none of OpenAI's: a web page, say."""
        return EngineError(f"'{self.url}' answers, but not in the form of OpenAI's API", remedy=_IS_IT)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a server is reached: directly, or through the proxy that the environment names."""

    connection: http.client.HTTPConnection
    """Not open yet."""
    begin: str
    """What a request's target begins with."""
    headers: Mapping[str, str]
    """What each request carries for the proxy."""
    proxy: Proxy | None

    @classmethod
    def to(cls, url: str) -> Self:
        """Find it.

        Raises:
            InputError: The environment names a proxy that is none, or one that cannot be used here.
        """
        parts = urllib.parse.urlsplit(url)
        host, is_secure, proxy = parts.hostname or "", parts.scheme == "https", proxy_for(url)
        if proxy is None:
            kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
            return cls(kind(host, parts.port), parts.path, {}, None)
        if not is_secure:
            kind = http.client.HTTPSConnection if proxy.scheme == "https" else http.client.HTTPConnection
            return cls(kind(proxy.host, proxy.port), url, proxy.headers, proxy)
        if proxy.scheme == "https":
            raise InputError(
                f"'{url}' cannot be asked through the https proxy '{proxy.address}'",
                remedy=f"Name one as http://, or its server in NO_PROXY: {proxy.variable}",
            )
        connection = http.client.HTTPSConnection(proxy.host, proxy.port)
        connection.set_tunnel(host, parts.port, proxy.headers)
        return cls(connection, parts.path, {}, proxy)


def _error_text(body: bytes) -> str | None:
    """Return what an error of OpenAI's form says; None where the body is none."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return None
