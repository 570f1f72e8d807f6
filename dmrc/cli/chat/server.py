"""An OpenAI-compatible server: the gateway on loopback, or another one that the user names."""

from __future__ import annotations

import http.client
import json
import os
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from dmrc.errors import EngineError, InputError

KEY_VARIABLE = "OPENAI_API_KEY"
"""Holds the key of a server that the user names."""


@dataclass(frozen=True, slots=True)
class Server:
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
            raise InputError(f"'{url}' is no URL of a server", remedy="Give one as http://localhost:8000/v1")
        return cls(url.rstrip("/"), os.environ.get(KEY_VARIABLE) or None)

    @contextmanager
    def answer(self, method: str, path: str, body: str | None = None) -> Iterator[http.client.HTTPResponse]:
        """Send a request, `path` below the URL, and give its answer, which has the status 200.

        Raises:
            EngineError: The server cannot be reached, refuses or breaks off; in its words.
        """
        parts = urllib.parse.urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        headers = {"content-type": "application/json", "user-agent": "dmrc-run"}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        connection = kind(parts.hostname or "", parts.port)
        try:
            connection.request(method, f"{parts.path}{path}", body, headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise EngineError(_error_text(answer.read()))
            yield answer
        except (OSError, http.client.HTTPException) as error:
            if self.is_gateway:
                raise EngineError(f"the gateway broke off: {error}", remedy="See: dmrc logs") from error
            raise EngineError(f"'{self.url}' does not answer: {error}", remedy="Check that it runs") from error
        finally:
            connection.close()


def _error_text(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500]
