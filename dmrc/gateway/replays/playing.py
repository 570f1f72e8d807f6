"""A recorded answer on its way to a caller: its pieces, each at its time."""

from __future__ import annotations

import asyncio

from dmrc.cassettes.turns import Taken

_AT_ONCE = 64
"""Pieces without a time of their own that are sent before others may do something."""


class PlayedPieces:
    """The pieces of an answer, as an async iterator; the body of a `Response`.

    It is an object, and no generator: one that nobody has begun to read runs no code when it is closed, and whether the
    caller got the answer must be known in any case.
    """

    def __init__(self, taken: Taken, speed: float, began: float) -> None:
        """Play what was taken. `speed` is that of `Replay`; `began` is when the request came, by the loop's clock."""
        self._taken = taken
        self._speed = speed
        self._due = began
        self._next = 0
        self._is_settled = False

    def __aiter__(self) -> PlayedPieces:
        """Return itself: it can be read once."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece when its time has come.

        Times are counted from the one before, and not from when that was sent: so they do not drift.
        """
        pieces = self._taken.answer.pieces
        if self._next == len(pieces):
            self._settle(is_delivered=True)
            raise StopAsyncIteration
        piece = pieces[self._next]
        self._next += 1
        if self._speed > 0:
            self._due += piece.after_ms / 1000 / self._speed
            wait = self._due - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
        elif self._next % _AT_ONCE == 0:
            await asyncio.sleep(0)
        return piece.data

    async def aclose(self) -> None:
        """Note that the caller did not get all of it, unless it did: the same answer is there for the retry."""
        self._settle(is_delivered=False)

    def _settle(self, *, is_delivered: bool) -> None:
        if not self._is_settled:
            self._is_settled = True
            if is_delivered:
                self._taken.delivered()
            else:
                self._taken.released()
