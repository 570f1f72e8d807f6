"""How the admin API tells errors: ours as `told_errors` has them, and a mistake of ours as one of these."""

from __future__ import annotations

from typing import cast

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from dmrc.errors import DaemonError, DmrcError
from dmrc.told_errors import error_document


async def on_error(_request: Request, error: Exception) -> Response:
    """Answer with an error of ours."""
    known = cast(DmrcError, error)
    return JSONResponse({"error": error_document(known)}, known.http_status)


async def on_mistake(request: Request, error: Exception) -> Response:
    """Answer in JSON for a bug of ours, too; the traceback is in the log."""
    what = f"dmrc made a mistake at {request.method} {request.url.path}: {type(error).__name__}: {error}"
    return await on_error(request, DaemonError(what, remedy="See: dmrc logs"))
