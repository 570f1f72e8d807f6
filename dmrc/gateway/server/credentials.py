"""The keys that a request carries: in its path, and in the headers by which clients of every API send theirs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from starlette.types import Scope

from dmrc.gateway.server.request_fields import fields_of

_KEY_HEADERS = ("x-api-key", "api-key", "x-goog-api-key")
"""Headers that hold a key and nothing else: Anthropic's clients', Azure's, Google's."""

CAPABILITY = "/k/"
"""A path that begins so holds a key: `/k/<key>/engines/v1`. Compose can inject a URL and cannot inject a key."""


def split_capability(path: str) -> tuple[str | None, str]:
    """Return the key that a path begins with, and the path without it."""
    if not path.startswith(CAPABILITY):
        return None, path
    key, _, rest = path.removeprefix(CAPABILITY).partition("/")
    return key, f"/{rest}"


def sent_keys(scope: Scope) -> Iterator[str]:
    """Yield the keys of a request, that of the path first.

    Clients send placeholders beside, or in place of, the right one, so all of them are looked at.
    """
    if scope.get("dmrc.path_key") is not None:
        yield scope["dmrc.path_key"]
    fields = fields_of(scope)
    for sent in fields.get("authorization", ()):
        scheme, _, credentials = sent.strip().partition(" ")
        if scheme.lower() == "basic":
            yield from _basic(credentials.strip())
        elif scheme.lower() != "bearer" or credentials.strip():
            yield credentials.strip() or scheme  # `Bearer KEY`, as it should be; `Token KEY`, or the key alone
    for name in _KEY_HEADERS:
        yield from (value.strip() for value in fields.get(name, ()) if value.strip())


def _basic(credentials: str) -> Iterator[str]:
    """Yield password and user, where they are not empty. Source: RFC 7617, section 2."""
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return
    yield from (each for each in (password, user) if each)
