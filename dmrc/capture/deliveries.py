"""Exchanges on their way to the recorder process: sent, sent again to the next one where it died, and acknowledged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.delivery import Delivery
from dmrc.capture.frames import FrameKind, RecorderFrame, exchange_framed, framed
from dmrc.capture.losses import Losses, RecorderCounts
from dmrc.capture.masking import CaptureLimits
from dmrc.capture.policy import Retention
from dmrc.capture.process_link import ProcessLink
from dmrc.errors import where
from dmrc.exchange import Exchange, JsonValue
from dmrc.settings import CaptureLevel

logger = logging.getLogger(__name__)

# Of requests that wait; the documents of more are read again, since they take several times the memory of their bytes.
_DOCUMENT_BYTES = 8 << 20
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0
# Of a machine where nobody asks anything, the process need not have the memory.
_IDLE_SECONDS = 300.0
# An exchange of which the process dies, each time that it gets it, must not keep all others from being recorded. Of a
# kill it may be guilty too: it needs more memory than there is.
_MOST_DEATHS = 3
# To start, read what was sent, try to write it and say so; at the end of a daemon.
_GRACE_SECONDS = 10.0


class Deliveries:
    """Keeps each exchange until the process says that it is on the disk. `send` and `close` are for one thread."""

    def __init__(
        self,
        database: ExchangeDatabase,
        limits: CaptureLimits,
        on_told: Callable[[Exchange, dict[str, Any], str], None],
    ) -> None:
        """Start nothing; `on_told` hears, in a thread, of an exchange, what is known of it now, and its first words."""
        self.changed = threading.Condition()
        """Is notified when one is settled, and when the process has died."""
        self._database = database
        self._limits = limits
        self._on_told = on_told
        self._open: dict[int, Delivery] = {}
        self._bytes = self._accepted = self._recorded = self._dropped = self._refused = 0
        self._link: ProcessLink | None = None
        self._trim: Retention | None = None
        self._deaths, self._next_start, self._used_at = 0, 0.0, 0.0
        self._sent_to = self._suspected_to = 0  # numbers: of the last one sent, and of the last that may kill a process
        self._alone: Delivery | None = None
        self._losses = Losses()

    @property
    def process_id(self) -> int | None:
        """Return the id of the process; None where there is none."""
        link = self._link
        return None if link is None or link.has_ended else link.pid

    @property
    def is_one_by_one(self) -> bool:
        """Return whether each waits for the one before it, as after the death of a process."""
        return self._alone is not None

    def accept(
        self, exchange: Exchange, level: CaptureLevel | None, document: dict[str, JsonValue] | None, size: int
    ) -> Delivery | None:
        """Take an exchange; None where as many wait as may. Call it with `changed` held, as the next one."""
        limits, waiting = self._limits, len(self._open)
        if waiting >= limits.queue_exchanges or (waiting > 0 and self._bytes + size > limits.queue_bytes):
            self._dropped += 1
            return None
        self._accepted += 1
        self._bytes += size
        known = document if self._bytes <= _DOCUMENT_BYTES else None
        delivery = self._open[self._accepted] = Delivery(self._accepted, exchange, level, known, size)
        return delivery

    def refuse(self) -> None:
        """Count one that came too late."""
        self._dropped += 1

    def counts(self) -> RecorderCounts:
        """Return what became of the exchanges so far."""
        with self.changed:
            return RecorderCounts(self._recorded, self._dropped, self._refused, len(self._open))

    def wait_settled(self, timeout: float) -> bool:
        """Block until none is open that is accepted now; False after `timeout` seconds. Call it with `changed` held."""
        last = self._accepted
        return self.changed.wait_for(lambda: next(iter(self._open), last + 1) > last, timeout)

    def settle(self, number: int, *, recorded: int = 0, dropped: int = 0, refused: int = 0) -> None:
        """Let go of one, and count it."""
        with self.changed:
            self._settle(number, recorded=recorded, dropped=dropped, refused=refused)
            self.changed.notify_all()

    def _settle(self, number: int, *, recorded: int = 0, dropped: int = 0, refused: int = 0) -> None:
        delivery = self._open.pop(number, None)
        if delivery is not None:
            self._bytes -= delivery.size
            self._recorded += recorded
            self._dropped += dropped
            self._refused += refused

    def failed(self, delivery: Delivery, why: str) -> None:
        """Give up one that cannot be read or sent."""
        logger.error("request '%s' cannot be recorded: %s", delivery.exchange.id, why)
        self._losses.trouble = "it cannot be read"
        self.settle(delivery.number, dropped=1)

    def trim(self, retention: Retention) -> bool:
        """Have the process delete the oldest exchanges; False where there is no process. Any thread."""
        with self.changed:
            if self.process_id is None:
                return False
            self._trim = retention
            self.changed.notify_all()
            return True

    def wait_seconds(self) -> float | None:
        """Return how soon `send` has something to do by itself: a process to start or to end; None: nothing."""
        if self._link is None:
            return max(0.0, self._next_start - time.monotonic()) if self._open else None
        if self._trim is not None or self._link.has_ended:
            return 0.0
        if not self._open:
            return max(0.0, self._used_at + _IDLE_SECONDS - time.monotonic())
        return None if self._alone is None or self._alone.number in self._open else 0.0

    def send(self, new: list[Delivery]) -> None:
        """Send these; to a process that was started anew, all that are open, or the first of those that may kill it."""
        if self._link is not None and self._link.has_ended:
            self._bury(self._link)
        if self._link is not None and not self._open and time.monotonic() >= self._used_at + _IDLE_SECONDS:
            self._link.end(_GRACE_SECONDS)
            self._link = None
        if self._link is None:
            if not self._open or time.monotonic() < self._next_start:
                return
            link = self._link = self._started()
            new = self._all_or_one()
        elif self._alone is not None:
            link, new = self._link, [] if self._alone.number in self._open else self._all_or_one()
        else:
            link = self._link
        if link is None:
            return
        for delivery in new:
            self._used_at = time.monotonic()
            if delivery.is_ready:
                self._sent_to = delivery.number
                self._put(link, delivery)
        if self._trim is not None:
            link.put(framed(FrameKind.TRIM, asdict(self._trim)))
            self._trim = None
        link.send()

    def _all_or_one(self) -> list[Delivery]:
        """Return all that are open; where one of them may kill the process, the first, which is then `_alone`."""
        with self.changed:
            first = next(iter(self._open.values()), None)
            if first is not None and first.number <= self._suspected_to:
                self._alone = first
                return [first]
            self._alone = None
            return list(self._open.values())

    def _put(self, link: ProcessLink, delivery: Delivery) -> None:
        number, exchange, words = delivery.number, delivery.exchange, delivery.words
        try:
            if words is not None:
                said = (words.asked, words.context, words.answer)
                evidence = delivery.evidence and delivery.evidence.to_json()
                link.put(exchange_framed(FrameKind.PREPARED, number, said, evidence, exchange=exchange))
            else:
                redactor = link.number_of(delivery.redactor)
                link.put(exchange_framed(FrameKind.FINISHED, number, delivery.level, redactor, exchange=exchange))
        except Exception as error:  # noqa: BLE001 a plugin may have put anything into it
            self.failed(delivery, where(error))

    def _started(self) -> ProcessLink | None:
        database = self._database
        try:
            return ProcessLink(database.path, database.max_file_bytes, self._limits, self._heard, self._ended)
        except (OSError, RuntimeError) as error:  # as many processes, or threads, as there may be
            self._pause(f"the recorder process cannot be started: {error}")
            return None

    def _bury(self, link: ProcessLink) -> None:
        """Take note of the end of a process, and of when the next one may start."""
        self._link = None
        how = link.reap()
        if link.is_ready and not link.is_troubled:  # else it had read all that it got, or nothing
            self._suspect(link, how)
        if link.did_work:
            self._deaths = 0
            self._next_start = 0.0
            logger.warning("the recorder process ended (%s) and is started again", how)
            return
        self._pause(f"the recorder process ended ({how})")

    def _suspect(self, link: ProcessLink, how: str) -> None:
        """Have what a process may have died of sent one by one; give up what it dies of again and again."""
        one = self._alone
        if one is None:
            self._suspected_to = self._suspected_to if link.did_work else self._sent_to
        elif one.number in self._open:
            one.deaths += 1
            if one.deaths >= _MOST_DEATHS:
                self.failed(one, f"the recorder process ended {one.deaths} times when it got it ({how})")

    def _pause(self, why: str) -> None:
        self._losses.trouble = why
        pause = min(_FIRST_PAUSE_SECONDS * 2**self._deaths, _LONGEST_PAUSE_SECONDS)
        self._deaths += 1
        self._next_start = time.monotonic() + pause
        logger.warning("%s, and is started again in %.1f s", why, pause)

    def _ended(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _heard(self, frame: RecorderFrame) -> None:
        """Take in what the process says; in the hearing thread."""
        match frame.kind:
            case FrameKind.TOLD:
                for number, news, excerpt in frame.items[0]:
                    delivery = self._open.get(number)
                    if delivery is not None and not delivery.is_told:
                        delivery.is_told = True
                        self._on_told(delivery.exchange, news, excerpt)
            case FrameKind.DONE:
                self._done(*frame.items)
            case FrameKind.TROUBLE:
                self._losses.trouble = frame.items[0]
            case FrameKind.UNTRIMMED:
                logger.warning("the record of requests is not trimmed: %s", frame.items[0])
        self.report()

    def _done(self, last: int, failures: list[tuple[int, str]]) -> None:
        failed = dict(failures)
        for why in failed.values():
            logger.error("%s", why)
        with self.changed:
            for number in list(self._open):
                if number > last:
                    break
                if number in failed:
                    self._losses.trouble = "its values fit no column"
                    self._settle(number, dropped=1)
                else:
                    self._settle(number, recorded=int(self._open[number].level != "off"))
            self.changed.notify_all()

    def report(self, *, last: bool = False) -> None:
        """Log what was lost and why, at most once a minute, and at the end."""
        with self.changed:
            self._losses.report(self._dropped, len(self._open), last=last)

    def close(self, deadline: float) -> None:
        """Have all that is open written until `deadline`, of the monotonic clock; give up the rest; end the process."""
        told: ProcessLink | None = None
        while self._open and time.monotonic() < deadline:
            self.send([])
            if self._link is not None and self._link is not told and self._alone is None:  # else others follow
                told = self._link
                told.put(framed(FrameKind.END, deadline - time.monotonic()))
                told.send()
            with self.changed:
                pause = self.wait_seconds()
                left = deadline - time.monotonic()
                if self._open and (pause is None or pause > 0):
                    self.changed.wait(max(0.0, left if pause is None else min(left, pause)))
        if self._link is not None:
            if self._link is not told:
                self._link.put(framed(FrameKind.END, 0.0))
                self._link.send()
            self._link.end(_GRACE_SECONDS)
            self._link = None
        with self.changed:
            for number in list(self._open):
                self._settle(number, dropped=1)
            self.changed.notify_all()
        self.report(last=True)

    def kill(self) -> None:
        """End a process that hangs, where `close` waits for it."""
        link = self._link
        if link is not None:
            link.kill()
