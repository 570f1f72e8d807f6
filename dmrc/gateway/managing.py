"""What the routes that manage models share, in every dialect: who may, bodies, and how transfers are told of."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from dmrc.errors import DmrcError, InputError, PermissionDeniedError, RegistryAuthError
from dmrc.gateway.admission import Admission
from dmrc.gateway.answers import dialect_of, error_response
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


async def streamed(events: Events, work: Work, request: Request, media_type: str = "application/json") -> Response:
    """Run the work in a thread, and answer with its lines; what fails before the first one is a plain error.

    Docker Model Runner answers a login that is missing with 401.
    """
    loop, lines, cancelled = asyncio.get_running_loop(), asyncio.Queue[bytes | DmrcError | None](), threading.Event()

    def tell(line: bytes | DmrcError | None) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def run() -> None:
        try:
            tell(events.success(work(lambda event: tell(events.progress(event)), cancelled.is_set)))
        except DmrcError as error:
            tell(error)
        finally:
            tell(None)

    task = asyncio.create_task(asyncio.to_thread(run))
    first = await lines.get()
    if isinstance(first, DmrcError):
        status = 401 if isinstance(first, RegistryAuthError) else None
        return error_response(first, status, dialect_of(request.url.path))

    async def body() -> AsyncIterator[bytes]:
        try:
            line: bytes | DmrcError | None = first
            while line is not None:
                yield events.error(str(line)) if isinstance(line, DmrcError) else line
                line = await lines.get()
            await task
        finally:
            cancelled.set()

    return StreamingResponse(body(), media_type=media_type)


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
