"""What the routes that manage models share, in every dialect: who may, bodies, and how transfers are told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from fastapi import Request

from dmrc.errors import InputError, PermissionDeniedError
from dmrc.gateway.server.admission import Admission
from dmrc.sources import Progress, ProgressEvent

Work = Callable[[Progress, Callable[[], bool]], str]
"""A pull or push: gets who hears of it and who may cancel it, blocks, and returns what to say at its end."""


class Events(Protocol):
    """The lines of JSON by which a dialect tells how a transfer goes on."""

    def progress(self, event: ProgressEvent) -> bytes:
        """Return what tells of one step."""

    def success(self, message: str) -> bytes:
        """Return the last line of what went well."""

    def error(self, message: str) -> bytes:
        """Return the last line of what failed."""


def admit_manager(admission: Admission, request: Request) -> None:
    """Let only the user of this machine in.

    Raises:
        PermissionDeniedError: It is a service.
        AuthenticationError: The key is missing, unknown or revoked.
    """
    if admission.admit(request.scope) is not None:
        raise PermissionDeniedError(
            "a service may use its models, and not manage those of the machine", remedy="Use dmrc on the host"
        )


def text_in(document: Mapping[str, object], key: str, example: str = "ai/smollm2") -> str:
    """Return a text of a body.

    Raises:
        InputError: It is missing.
    """
    value = document.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"'{key}' is missing from the body", remedy=f'Send {{"{key}": "{example}"}}')
    return value


def flag_in(request: Request, name: str) -> bool:
    """Return whether a parameter of the query says yes, in Go's words."""
    return request.query_params.get(name, "").lower() in ("1", "t", "true")
