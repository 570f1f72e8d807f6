"""Where a bug of ours ends: one answer in JSON, and a traceback in the log."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dmrc.dialects.table import dialect_at
from dmrc.errors import EngineError
from dmrc.gateway.server.error_responses import error_response

_log = logging.getLogger(__name__)


def contain_bugs(app: FastAPI) -> ASGIApp:
    """Return the application with an answer for whatever its routes raise that is no error of theirs.

    Starlette raises it again when that was answered, and leaves it to the server to log; here it is logged once, with
    the route's name.
    """
    app.add_exception_handler(Exception, _on_bug)

    async def contained(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except Exception:  # noqa: BLE001 the border
            _log.exception("%s %s failed", scope.get("method"), scope.get("path"))

    return contained


async def _on_bug(request: Request, _error: Exception) -> Response:
    error = EngineError("dmrc made a mistake", remedy="See: dmrc logs")
    return error_response(error, dialect_at(request.url.path))
