"""What the routes that manage models share, in every dialect: who may, and how transfers are told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.types import Scope

from dmrc.errors import PermissionDeniedError
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


def admit_manager(admission: Admission) -> Callable[[Scope], None]:
    """Return what lets only the user of this machine in.

    It raises PermissionDeniedError for a service, and AuthenticationError where a key is missing, unknown or revoked.
    """

    def admit(scope: Scope) -> None:
        if admission.admit(scope) is not None:
            raise PermissionDeniedError(
                "a service may use its models, and not manage those of the machine", remedy="Use dmrc on the host"
            )

    return admit
