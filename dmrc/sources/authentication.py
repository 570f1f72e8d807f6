"""Answering a registry's `WWW-Authenticate`.

Source: https://distribution.github.io/distribution/spec/auth/token/ and …/spec/auth/oauth/.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

from dmrc.errors import RegistryAuthError
from dmrc.reference import Reference
from dmrc.sources.credentials import Credentials

FetchToken = Callable[[str, Mapping[str, str], bytes | None], bytes]
"""Sends a request to a token server (URL, headers, form or None) and returns the answer's body."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a registry wants to be asked."""

    scheme: str
    """`bearer` or `basic`; empty without a challenge."""
    parameters: Mapping[str, str]
    """`realm`, `service`, `scope`."""

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read a `WWW-Authenticate` header, whatever it holds."""
        scheme, _, rest = header.strip().partition(" ")
        return cls(scheme.lower(), dict(re.findall(r'([a-z]+)="([^"]*)"', rest)))


@dataclass(frozen=True, slots=True)
class Authorization:
    """What to send to a registry that refused what was sent before."""

    header: str
    """`Bearer …`, `Basic …`."""
    is_new: bool
    """It was got for this answer. Another thread's may have ended since it was got."""


class Authentication:
    """The `Authorization` for one repository, renewed when the registry asks. Threads may share it."""

    def __init__(
        self,
        reference: Reference,
        credentials: Credentials | None,
        fetch_token: FetchToken,
        scopes: Sequence[str] = (),
    ) -> None:
        """Answer with these credentials, or as nobody; ask for `scopes`, or else for what the registry names."""
        self.header: str | None = None
        """What to send now; None before the first challenge."""
        self._reference = reference
        self._credentials = credentials
        self._fetch_token = fetch_token
        self._scopes = scopes
        self._lock = threading.Lock()

    def answer(self, challenge: Challenge, *, refused: str | None) -> Authorization | None:
        """Return what to send in the place of what was `refused`; None when there is nothing else.

        Raises:
            RegistryAuthError: The token server refuses us, or answers nonsense.
        """
        with self._lock:
            if self.header is not None and self.header != refused:
                return Authorization(self.header, is_new=False)  # another thread was faster
            if challenge.scheme == "basic" and self._credentials is not None:
                self.header = _basic(self._credentials)
            elif challenge.scheme == "bearer" and "realm" in challenge.parameters:
                self.header = f"Bearer {self._token(challenge.parameters)}"
            return None if self.header is None or self.header == refused else Authorization(self.header, is_new=True)

    def _token(self, parameters: Mapping[str, str]) -> str:
        query = {"scope": self._scopes or [parameters.get("scope") or f"repository:{self._reference.repository}:pull"]}
        if "service" in parameters:
            query["service"] = [parameters["service"]]
        realm, headers, form = parameters["realm"], {}, None
        if self._credentials is not None and self._credentials.identity_token is not None:
            values = {name: " ".join(several) for name, several in query.items()}
            values |= {"grant_type": "refresh_token", "client_id": "dmrc"}
            form = urlencode(values | {"refresh_token": self._credentials.identity_token}).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            realm += ("&" if "?" in realm else "?") + urlencode(query, doseq=True)
            if self._credentials is not None:
                headers["Authorization"] = _basic(self._credentials)
        try:
            answer = json.loads(self._fetch_token(realm, headers, form))
            token = answer.get("token") or answer.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryAuthError(f"the token server of registry '{self._reference.registry}' gives no token")
        return token


def _basic(credentials: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
