"""Our errors as JSON: what the daemon tells a command, and the dmrc of another machine tells this one."""

from __future__ import annotations

import dmrc.errors
from dmrc.errors import BusyError, DaemonError, DmrcError
from dmrc.fields import JsonObject


def error_document(error: DmrcError) -> JsonObject:
    """Return an error as JSON.

    Shape:
        `{"kind": "BusyError", "message": "…", "remedy": null, "log_tail": ["…"]}`
    """
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "remedy": error.remedy,
        "log_tail": list(error.log_tail),
    }


def told_error(document: object, teller: str = "the daemon") -> DmrcError:
    """Return the error that `error_document` wrote, as the same class; `teller` is who told it."""
    if not isinstance(document, dict):
        return DaemonError(f"{teller} answered with an error that says nothing")
    message, remedy = str(document.get("message")), document.get("remedy")
    kind = getattr(dmrc.errors, str(document.get("kind")), DaemonError)
    if kind is BusyError:
        return BusyError(message, retry_after_seconds=1, remedy=remedy)
    known = kind if isinstance(kind, type) and issubclass(kind, DmrcError) else DaemonError
    error = known(message, remedy=remedy)
    tail = document.get("log_tail")
    error.log_tail = tuple(map(str, tail)) if isinstance(tail, list) else ()
    return error
