"""One stream that a stream process carries, as the daemon sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dmrc.errors import EngineError
from dmrc.gateway.streams.frames import Outcome, Passed, StreamMessage

_STOP_SECONDS = 1.0
"""How long a process may take to tell what it had sent of a stream that is stopped."""


class ProcessDiedError(EngineError):
    """A stream process has died: of the streams that it carried nobody knows where their last chunks end."""


class Carrying:
    """A stream in a stream process; its owner awaits `ended`."""

    def __init__(self, send: Callable[[StreamMessage], None], passed: Callable[[Passed], None]) -> None:
        """Reach it by `send`; `passed` takes what has gone to the caller, as the process tells it."""
        self.passed = passed
        """Takes what has gone to the caller."""
        self._send = send
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asking: list[Callable[[], None]] = []

    async def ended(self) -> Outcome:
        """Wait until the process has let go of both connections; when this is cancelled, it does so at once.

        Raises:
            ProcessDiedError: It has died.
        """
        try:
            return await asyncio.shield(self._outcome)
        except asyncio.CancelledError:
            self._send(StreamMessage.STOP)
            await asyncio.wait((self._outcome,), timeout=_STOP_SECONDS)
            raise

    @property
    def is_cut(self) -> bool:
        """Return whether the caller has part of a chunk at last, or nobody knows; of a stream that was stopped."""
        if not self._outcome.done() or self._outcome.exception() is not None:
            return True
        return self._outcome.result().is_cut

    def when_told(self, call: Callable[[], None]) -> None:
        """Call once all was told that has gone to the caller so far."""
        if self._outcome.done():
            call()
        else:
            self._asking.append(call)
            self._send(StreamMessage.ASK)

    def told(self) -> None:
        """Take note that all was told, for the one who has asked first."""
        if self._asking:
            self._asking.pop(0)()

    def end(self, outcome: Outcome) -> None:
        """Take note of the end."""
        self._all_told()
        self._outcome.set_result(outcome)

    def lose(self, error: ProcessDiedError) -> None:
        """Take note that nothing more will be told."""
        self._all_told()
        self._outcome.set_exception(error)
        self._outcome.exception()  # so that asyncio does not complain where nobody waits any more

    def _all_told(self) -> None:
        while self._asking:
            self.told()
