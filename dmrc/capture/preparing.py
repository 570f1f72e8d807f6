"""What of a finished exchange may be kept, worked out from the exchange alone: in the daemon and in its recorder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.masking import CaptureLimits, bare, headers_without_credentials, prepared, reduced
from dmrc.capture.reading import facts_of
from dmrc.capture.redaction import Redactor
from dmrc.errors import where
from dmrc.exchange import Exchange, changed
from dmrc.settings import CaptureLevel

logger = logging.getLogger(__name__)

CaptureFilter = Callable[[Exchange], Exchange | None]
"""Changes what is recorded; None, or an exception, means that nothing of its content is."""


def recordable(
    exchange: Exchange,
    level: CaptureLevel,
    redactor: Redactor | None,
    limits: CaptureLimits,
    bodies: ParsedBodies,
) -> Exchange:
    """Return what may be kept of an exchange where no plugin has a say in it.

    In this order: credentials masked, its answer read, media, secrets and what is too long taken out, reduced to the
    level. `redactor` None: the secrets that it may hold are not known, and nothing of its content is kept.
    """
    ready = _read(exchange, bodies)
    if redactor is None:
        return bare(ready)
    return _reduced(exchange, prepared(ready, limits, redactor, bodies), level)


def filtered(
    exchange: Exchange,
    level: CaptureLevel,
    redactor: Redactor | None,
    limits: CaptureLimits,
    bodies: ParsedBodies,
    filters: Sequence[CaptureFilter],
) -> Exchange | None:
    """Return what `recordable` does, with `filters` in between: each gets what the one before returned.

    None where one of them refuses it.
    """
    read = _read(exchange, bodies)
    if redactor is None:
        return bare(read)
    ready = prepared(read, limits, redactor, bodies)
    kept = _passed(ready, filters)
    if kept is None:
        return None
    if kept is not ready:
        kept = redactor.masked(kept)  # a plugin may know a secret, and have noted it
    return _reduced(exchange, kept, level)


def _read(exchange: Exchange, bodies: ParsedBodies) -> Exchange:
    return changed(exchange, {**facts_of(exchange, bodies), **headers_without_credentials(exchange)})


def _reduced(exchange: Exchange, kept: Exchange, level: CaptureLevel) -> Exchange:
    if level != "full" and exchange.error_message is None:
        # The answer's body told it. What is said of a request quotes it, and is content like the request.
        kept = changed(kept, {"error_message": None})
    return reduced(kept, level)


def _passed(exchange: Exchange, filters: Sequence[CaptureFilter]) -> Exchange | None:
    for one in filters:
        try:
            kept = one(exchange)
        except Exception as error:  # noqa: BLE001 it fails closed
            logger.error("capture filter '%s' failed, the request is not recorded: %s", name_of(one), where(error))
            return None
        if not isinstance(kept, Exchange):
            if kept is not None:
                logger.error("capture filter '%s' returned no exchange: nothing is recorded", name_of(one))
            return None
        exchange = kept
    return exchange


def name_of(function: object) -> str:
    """Return the name of a function, for the log."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if name else repr(function)
