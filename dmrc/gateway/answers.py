"""Errors as JSON in the words of the caller's dialect."""

from __future__ import annotations

import json

from starlette.responses import Response

from dmrc.errors import BusyError, DmrcError, RefusedError
from dmrc.exchange import Dialect


def error_document(error: DmrcError, dialect: Dialect = "openai") -> dict[str, object]:
    """Return `{"error": {"message", "type", "param", "code"}}`, as OpenAI's clients read it; Ollama's read a text."""
    if dialect == "ollama":
        return {"error": str(error)}
    return {"error": {"message": str(error), "type": error.error_type, "param": None, "code": error.http_status}}


def error_response(error: DmrcError, status: int | None = None, dialect: Dialect = "openai") -> Response:
    """Return the HTTP answer for an error; None is the status of its kind."""
    headers = {}
    if isinstance(error, BusyError | RefusedError) and error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    body = json.dumps(error_document(error, dialect)).encode()
    return Response(body, status or error.http_status, headers, "application/json")


def error_event(error: DmrcError) -> bytes:
    """Return the server-sent event that ends a broken stream; blank lines first end an event that was cut."""
    return b"\n\ndata: " + json.dumps(error_document(error)).encode() + b"\n\n"


def dialect_of(path: str) -> Dialect:
    """Return whose API a path belongs to, for the error of a request that no route has understood."""
    return "ollama" if path.startswith("/api/") else "openai"
