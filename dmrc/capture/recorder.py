"""Hands finished exchanges to the recorder process: no request waits for a disk, or for what is read of its answer."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dmrc.capture.bodies import ParsedBodies
from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.deliveries import Deliveries
from dmrc.capture.delivery import Delivery
from dmrc.capture.frames import WITHOUT_CONTENT
from dmrc.capture.joining.evidence import evidence_of
from dmrc.capture.losses import RecorderCounts
from dmrc.capture.masking import CaptureLimits, bare
from dmrc.capture.policy import AnyCaller, Policy, Retention
from dmrc.capture.preparing import CaptureFilter, filtered, name_of
from dmrc.capture.rows import ExchangeTexts, words_of
from dmrc.dialects.table import is_built_in
from dmrc.errors import where
from dmrc.exchange import Exchange, JsonValue, changed
from dmrc.settings import CaptureLevel

logger = logging.getLogger(__name__)

_JOIN_SECONDS = 15.0

CompletedCallback = Callable[[Exchange, ExchangeTexts], None]
"""Is told of an exchange as it was recorded, and what was said in it as far as that is recorded.

Where nobody needs the content: without headers, bodies and chunks, and of what was said the first words only.
"""


class Recorder:
    """Records exchanges in a process of its own. `record` may be called from any thread or task.

    A thread asks the policy whose each one is, how much of it to record and what to mask, and sends it to the process,
    which does what `preparing` tells, and writes. What somebody here must see whole, or a plugin's dialect reads, is
    prepared in the thread, and only written there. While the disk is full, the database locked, or the process dead,
    exchanges wait in memory up to the limits, and everything but the disk goes on.
    """

    def __init__(
        self, path: Path | ExchangeDatabase, limits: CaptureLimits | None = None, policy: Policy | None = None
    ) -> None:
        """Start the thread. The process is started, and opens the database, at the first exchange."""
        self.filters: list[CaptureFilter] = []
        self.on_completed: list[CompletedCallback] = []
        self.needs_content: Callable[[Exchange], bool] = lambda _: bool(self.filters or self.on_completed)
        """Says whether a filter or a callback must see an exchange whole; asked in the thread, for each."""
        self._database = path if isinstance(path, ExchangeDatabase) else ExchangeDatabase(path)
        self._limits = limits or CaptureLimits()
        self._policy = policy or AnyCaller(self._limits.level)
        self._deliveries = Deliveries(self._database, self._limits, self._told)
        self._condition = self._deliveries.changed
        self._queue: deque[Delivery] = deque()
        self._hurry = self._closing = False
        self._deadline = 0.0
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
        with self._condition:
            if self._closing:
                self._deliveries.refuse()
                return
            delivery = self._deliveries.accept(exchange, level, document, size)
            if delivery is not None:
                self._queue.append(delivery)
                if len(self._queue) in (1, self._limits.batch_exchanges):
                    self._condition.notify_all()

    def as_recorded(self, exchange: Exchange, document: dict[str, JsonValue]) -> Exchange | None:
        """Return what would be kept of an exchange with content; None where a filter refuses it. Any thread; blocks.

        `document` is its request. Without a body is what may not be kept: the secrets that it may hold are not known.
        """
        return self._kept(exchange, "full", ParsedBodies(exchange.request_body, document))

    @property
    def process_id(self) -> int | None:
        """Return the id of the process that writes; None before the first exchange, and between two processes."""
        return self._deliveries.process_id

    def counts(self) -> RecorderCounts:
        """Return what became of the exchanges so far."""
        return self._deliveries.counts()

    def flush(self, timeout: float = 5.0) -> bool:
        """Block until all that was recorded before is on disk (True), or `timeout` seconds have passed (False)."""
        with self._condition:
            self._hurry = True
            self._condition.notify_all()
            return self._deliveries.wait_settled(timeout)

    def trim(self, retention: Retention) -> None:
        """Have the oldest exchanges deleted until these limits hold; in this thread where there is no process.

        Raises:
            StoreError: The database cannot be used.
        """
        if not self._deliveries.trim(retention):
            self._database.trim(**asdict(retention))

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, for `timeout` seconds at most, end the thread and the process. May be repeated."""
        with self._condition:
            if not self._closing:
                self._deadline = time.monotonic() + timeout
            self._closing = True
            self._condition.notify_all()
        self._thread.join(timeout + _JOIN_SECONDS)
        if self._thread.is_alive():
            self._deliveries.kill()  # it neither reads nor ends
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while not (self._closing and not self._queue):
            taken = self._take()
            for delivery in taken:
                try:
                    self._prepare(delivery)
                except Exception as error:  # noqa: BLE001 one request must not cost the others
                    self._deliveries.failed(delivery, where(error))
            self._deliveries.send(taken)
            self._deliveries.report()
        self._deliveries.close(self._deadline)
        self._database.close()

    def _take(self) -> list[Delivery]:
        """Wait for exchanges, for the time to start a process again, or for the end; return at most one batch."""
        limits = self._limits
        with self._condition:
            while not (self._queue or self._closing):
                wait = self._deliveries.wait_seconds()
                if wait is not None and wait <= 0:
                    return []
                self._condition.wait(wait)
            self._condition.wait_for(
                lambda: (
                    self._closing
                    or self._hurry
                    or len(self._queue) >= limits.batch_exchanges
                    or self._deliveries.is_one_by_one
                ),
                limits.batch_seconds,
            )
            self._hurry = False
            return [self._queue.popleft() for _ in range(min(len(self._queue), limits.batch_exchanges))]

    def _prepare(self, delivery: Delivery) -> None:
        """Say what the process must know of an exchange; do its work here where somebody here must see the exchange."""
        exchange = delivery.exchange = self._policy.attributed(delivery.exchange)
        level = delivery.level = delivery.level or self._policy.level(exchange)
        if not self.needs_content(exchange) and is_built_in(exchange.dialect, exchange.operation):
            delivery.redactor, delivery.document = self._policy.redactor(exchange), None
            delivery.is_ready = True
            return
        bodies = ParsedBodies(exchange.request_body, delivery.document)
        kept = self._kept(exchange, level, bodies)
        refused = kept is None
        kept = bare(exchange) if kept is None else kept
        words = words_of(kept, bodies)
        self._tell(kept, words)
        delivery.is_told, delivery.document = True, None
        if refused or level == "off":
            self._deliveries.settle(delivery.number, refused=int(refused))
        else:
            delivery.exchange, delivery.words, delivery.evidence = kept, words, evidence_of(kept, bodies)
            delivery.is_ready = True

    def _kept(self, exchange: Exchange, level: CaptureLevel, bodies: ParsedBodies) -> Exchange | None:
        """Return what may be kept of an exchange; None where a filter refuses it."""
        return filtered(exchange, level, self._policy.redactor(exchange), self._limits, bodies, self.filters)

    def _told(self, exchange: Exchange, news: dict[str, Any], excerpt: str) -> None:
        """Pass on what the process has read of an exchange."""
        if self.on_completed:
            self._tell(changed(exchange, {**WITHOUT_CONTENT, **news}), ExchangeTexts(excerpt, "", ""))

    def _tell(self, kept: Exchange, words: ExchangeTexts) -> None:
        for callback in self.on_completed:
            try:
                callback(kept, words)
            except Exception:
                logger.exception("'%s' failed on a completed request", name_of(callback))
