"""The one thread that turns finished exchanges into records, so that no request ever waits for a disk."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.masking import CaptureLimits, bare, headers_without_credentials, prepared, reduced
from dmrc.capture.policy import AnyCaller, Policy
from dmrc.capture.reading import facts_of
from dmrc.capture.rows import ExchangeTexts, words_of
from dmrc.errors import StoreError, where
from dmrc.exchange import Exchange, JsonValue, changed
from dmrc.settings import CaptureLevel

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 60.0
_RETRY_SECONDS = 1.0
# Of requests that wait; the documents of more are read again, since they take several times the memory of their bytes.
_DOCUMENT_BYTES = 8 << 20

CaptureFilter = Callable[[Exchange], Exchange | None]
"""Changes what is recorded; None, or an exception, means that nothing of its content is."""

CompletedCallback = Callable[[Exchange, ExchangeTexts], None]
"""Is told of an exchange as it was recorded, and what was said in it as far as that is recorded."""


@dataclass(frozen=True, slots=True)
class RecorderCounts:
    """What became of the exchanges since the recorder was made."""

    recorded: int
    """Written to the database."""
    dropped: int
    """Lost: the queue was full, or the recorder was closed before it could write."""
    refused: int
    """Not written because a filter said so or failed."""
    waiting: int
    """Not yet written."""


@dataclass(frozen=True, slots=True)
class _Finished:
    """An exchange that waits for the recorder's thread."""

    exchange: Exchange
    level: CaptureLevel | None
    document: dict[str, JsonValue] | None
    size: int


class Recorder:
    """Records exchanges in a thread of its own. `record` may be called from any thread or task.

    In that thread, in this order: attributed, credentials masked, read by `complete`, media, secrets and what is too
    long taken out, `filters` (each gets what the one before returned), reduced to the level, `on_completed`, disk.
    While the disk is full or the database locked, exchanges wait in memory up to the limits, and everything but the
    disk goes on.
    """

    def __init__(
        self, path: Path | ExchangeDatabase, limits: CaptureLimits | None = None, policy: Policy | None = None
    ) -> None:
        """Start the thread. The database is opened at the first exchange."""
        self.filters: list[CaptureFilter] = []
        self.on_completed: list[CompletedCallback] = []
        self._database = path if isinstance(path, ExchangeDatabase) else ExchangeDatabase(path)
        self._limits = limits or CaptureLimits()
        self._policy = policy or AnyCaller(self._limits.level)
        self._condition = threading.Condition()
        self._queue: deque[_Finished] = deque()
        self._pending: deque[tuple[Exchange, ExchangeTexts, int]] = deque()
        self._bytes = 0
        self._accepted = self._settled = self._recorded = self._dropped = self._refused = 0
        self._hurry = self._closing = False
        self._deadline = self._next_write = self._next_report = 0.0
        self._reported = 0
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="dmrc-recorder", daemon=True)
        self._thread.start()

    def record(
        self, exchange: Exchange, level: CaptureLevel | None = None, document: dict[str, JsonValue] | None = None
    ) -> None:
        """Queue a finished exchange. Never blocks and never raises; what does not fit is dropped and counted.

        `level` None: that of the policy. With `off` nothing is stored, but `on_completed` hears of it without content.
        `document` is what the request's body was read as; None: it is read here. Nobody changes it any more.
        """
        size = sys.getsizeof(exchange.request_body) + sys.getsizeof(exchange.response_body)
        limits = self._limits
        with self._condition:
            waiting = self._accepted - self._settled
            full = waiting >= limits.queue_exchanges or (waiting > 0 and self._bytes + size > limits.queue_bytes)
            if full or self._closing:
                self._dropped += 1
                return
            self._accepted += 1
            self._bytes += size
            known = document if self._bytes <= _DOCUMENT_BYTES else None
            self._queue.append(_Finished(exchange, level, known, size))
            if len(self._queue) in (1, limits.batch_exchanges):
                self._condition.notify_all()

    def as_recorded(self, exchange: Exchange, document: dict[str, JsonValue]) -> Exchange | None:
        """Return what would be kept of an exchange with content; None where a filter refuses it. Any thread; blocks.

        `document` is its request. Without a body is what may not be kept: the secrets that it may hold are not known.
        """
        return self._recordable(exchange, "full", ParsedBodies(exchange.request_body, document))

    def counts(self) -> RecorderCounts:
        """Return what became of the exchanges so far."""
        with self._condition:
            return RecorderCounts(self._recorded, self._dropped, self._refused, self._accepted - self._settled)

    def flush(self, timeout: float = 5.0) -> bool:
        """Block until all that was recorded before is on disk (True), or `timeout` seconds have passed (False)."""
        with self._condition:
            target = self._accepted
            self._hurry = True
            self._condition.notify_all()
            return self._condition.wait_for(lambda: self._settled >= target, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, for `timeout` seconds at most, end the thread and close the database. May be repeated."""
        with self._condition:
            self._closing = True
            self._deadline = time.monotonic() + timeout
            self._condition.notify_all()
        self._thread.join(timeout + 2 * _RETRY_SECONDS)

    def _run(self) -> None:
        while True:
            taken = self._take()
            for finished in taken:
                try:
                    self._prepare(finished)
                except Exception as error:  # noqa: BLE001 one request must not cost the others
                    logger.error("request '%s' cannot be recorded: %s", finished.exchange.id, where(error))
                    self._trouble = "it cannot be read"
                    self._settle(1, dropped=1, size=finished.size)
            self._write()
            self._report()
            with self._condition:
                if self._closing and not self._queue:
                    if not self._pending or time.monotonic() >= self._deadline:
                        break
                    self._condition.wait(0.05)
        self._settle(len(self._pending), dropped=len(self._pending))
        self._report(last=True)
        self._database.close()

    def _take(self) -> list[_Finished]:
        """Wait for exchanges, for the time to write again, or for the end; return at most one batch."""
        limits = self._limits
        with self._condition:
            while not (self._queue or self._closing):
                wait = self._next_write - time.monotonic() if self._pending else None
                if wait is not None and wait <= 0:
                    return []
                self._condition.wait(wait)
            self._condition.wait_for(
                lambda: self._closing or self._hurry or len(self._queue) >= limits.batch_exchanges,
                limits.batch_seconds,
            )
            self._hurry = False
            return [self._queue.popleft() for _ in range(min(len(self._queue), limits.batch_exchanges))]

    def _prepare(self, finished: _Finished) -> None:
        exchange = self._policy.attributed(finished.exchange)
        level = finished.level or self._policy.level(exchange)
        bodies = ParsedBodies(exchange.request_body, finished.document)
        kept = self._recordable(exchange, level, bodies)
        refused = kept is None
        kept = bare(exchange) if kept is None else kept
        words = words_of(kept, bodies)
        for callback in self.on_completed:
            try:
                callback(kept, words)
            except Exception:
                logger.exception("'%s' failed on a completed request", _name(callback))
        if refused or level == "off":
            self._settle(1, refused=int(refused), size=finished.size)
        else:
            self._pending.append((kept, words, finished.size))

    def _recordable(self, exchange: Exchange, level: CaptureLevel, bodies: ParsedBodies) -> Exchange | None:
        """Return what may be kept of an exchange; None where a filter refuses it."""
        redactor = self._policy.redactor(exchange)
        is_ours = exchange.error_message is not None
        exchange = changed(exchange, {**facts_of(exchange, bodies), **headers_without_credentials(exchange)})
        if redactor is None:
            return bare(exchange)
        ready = prepared(exchange, self._limits, redactor, bodies)
        kept = self._filtered(ready)
        if kept is not None and kept is not ready:
            kept = redactor.masked(kept)  # a plugin may know a secret, and have noted it
        if kept is not None and level != "full" and not is_ours:
            # The answer's body told it. What is said of a request quotes it, and is content like the request.
            kept = changed(kept, {"error_message": None})
        return None if kept is None else reduced(kept, level)

    def _filtered(self, exchange: Exchange) -> Exchange | None:
        for one in self.filters:
            try:
                kept = one(exchange)
            except Exception as error:  # noqa: BLE001 it fails closed
                logger.error("capture filter '%s' failed, the request is not recorded: %s", _name(one), where(error))
                return None
            if not isinstance(kept, Exchange):
                if kept is not None:
                    logger.error("capture filter '%s' returned no exchange: nothing is recorded", _name(one))
                return None
            exchange = kept
        return exchange

    def _write(self) -> None:
        while self._pending and (time.monotonic() >= self._next_write or self._closing):
            batch = [self._pending[index] for index in range(min(len(self._pending), self._limits.batch_exchanges))]
            try:
                self._database.insert_with_words((exchange, words) for exchange, words, _ in batch)
            except StoreError as error:
                self._trouble = str(error)
                self._next_write = time.monotonic() + _RETRY_SECONDS
                return
            except Exception:  # noqa: BLE001 (each that fails is logged when it is tried alone)
                # A plugin may have put into one of them what no column holds; the others must not suffer.
                self._write_singly(batch)
            else:
                self._done(batch, recorded=len(batch))

    def _write_singly(self, batch: list[tuple[Exchange, ExchangeTexts, int]]) -> None:
        for one in batch:
            try:
                self._database.insert_with_words([one[:2]])
            except StoreError as error:
                self._trouble = str(error)
                self._next_write = time.monotonic() + _RETRY_SECONDS
                return
            except Exception as error:  # noqa: BLE001 as above
                logger.error("request '%s' cannot be recorded: %s", one[0].id, where(error))
                self._trouble = "its values fit no column"
                self._done([one], recorded=0)
            else:
                self._done([one], recorded=1)

    def _done(self, batch: list[tuple[Exchange, ExchangeTexts, int]], *, recorded: int) -> None:
        for _ in batch:
            self._pending.popleft()
        size = sum(size for _, _, size in batch)
        self._settle(len(batch), recorded=recorded, dropped=len(batch) - recorded, size=size)

    def _settle(self, count: int, *, recorded: int = 0, dropped: int = 0, refused: int = 0, size: int = 0) -> None:
        with self._condition:
            self._settled += count
            self._recorded += recorded
            self._dropped += dropped
            self._refused += refused
            self._bytes -= size
            self._condition.notify_all()

    def _report(self, *, last: bool = False) -> None:
        """Log what was lost and why, at most once a minute, and at the end."""
        lost = self._dropped - self._reported
        if not lost and not self._pending:
            # Whatever it was, it is over and cost nothing.
            self._trouble = None
        if not (lost or self._trouble) or (time.monotonic() < self._next_report and not last):
            return
        self._next_report = time.monotonic() + _REPORT_SECONDS
        self._reported += lost
        reason, self._trouble = self._trouble or "more came than could be written", None
        logger.warning("requests not recorded: %d lost, %d wait: %s", lost, self._accepted - self._settled, reason)


def _name(function: object) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if name else repr(function)
