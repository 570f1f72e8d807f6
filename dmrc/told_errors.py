"""Our errors as JSON: what the daemon tells a command, and the dmrc of another machine tells this one."""

from __future__ import annotations

from contextlib import suppress

import dmrc.errors
from dmrc.errors import BusyError, DaemonError, DmrcError
from dmrc.fields import JsonObject


def error_document(error: DmrcError) -> JsonObject:
    """Return an error as JSON.

    Shape:
        `{"kind": "BusyError", "message": "…", "remedy": null, "log_tail": ["…"]}`
    """
    # A room's own kind is told as the one above it, which whoever reads this knows.
    known = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == dmrc.errors.__name__)
    return {
        "kind": next(known, DmrcError.__name__),
        "message": error.message,
        "remedy": error.remedy,
        "log_tail": list(error.log_tail),
    }


def told_error(document: object, teller: str = "the daemon") -> DmrcError:
    """Return the error that `error_document` wrote; `teller` is who told it.

    It is of the same class, or of the nearest one above it that consists of words alone.
    """
    if not isinstance(document, dict):
        return DaemonError(f"{teller} answered with an error that says nothing")
    message, remedy = str(document.get("message")), document.get("remedy")
    kind = getattr(dmrc.errors, str(document.get("kind")), DaemonError)
    known = kind if isinstance(kind, type) and issubclass(kind, DmrcError) else DaemonError
    error = _made(known, message, remedy)
    tail = document.get("log_tail")
    error.log_tail = tuple(map(str, tail)) if isinstance(tail, list) else ()
    return error


def _made(kind: type[DmrcError], message: str, remedy: str | None) -> DmrcError:
    if kind is BusyError:
        return BusyError(message, retry_after_seconds=1, remedy=remedy)
    for each in kind.__mro__:
        if issubclass(each, DmrcError):
            with suppress(TypeError):
                return each(message, remedy=remedy)
    return DaemonError(message, remedy=remedy)
