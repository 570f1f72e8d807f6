"""Errors as JSON in the words of the caller's dialect."""

from __future__ import annotations

import json

from starlette.responses import Response

from dmrc.errors import BusyError, DmrcError, RefusedError


def error_document(error: DmrcError) -> dict[str, object]:
    """Return `{"error": {"message", "type", "param", "code"}}`, as OpenAI's clients read it."""
    return {"error": {"message": str(error), "type": error.error_type, "param": None, "code": error.http_status}}


def error_response(error: DmrcError, status: int | None = None) -> Response:
    """Return the HTTP answer for an error; None is the status of its kind."""
    headers = {}
    if isinstance(error, BusyError | RefusedError) and error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    body = json.dumps(error_document(error)).encode()
    return Response(body, status or error.http_status, headers, "application/json")


def error_event(error: DmrcError) -> bytes:
    """Return the server-sent event that ends a broken stream; blank lines first end an event that was cut."""
    return b"\n\ndata: " + json.dumps(error_document(error)).encode() + b"\n\n"
