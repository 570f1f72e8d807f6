"""Errors over HTTP, in the words of the caller's dialect."""

from __future__ import annotations

import json

from starlette.responses import Response

from dmrc.dialects.dialect import Dialect
from dmrc.dialects.table import OPENAI
from dmrc.errors import DmrcError


def error_response(error: DmrcError, dialect: Dialect = OPENAI, status: int | None = None) -> Response:
    """Return the answer for an error; None is the status of its kind."""
    headers = dict(error.http_headers)
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    body = json.dumps(dialect.error(error)).encode()
    return Response(body, status or error.http_status, headers, "application/json")
