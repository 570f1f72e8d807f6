"""Which of the answers to equal requests is next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

_LOOKS = 8


@dataclass(slots=True)
class Equal:
    """How far a run has come among the interactions of one cassette that ask the same, by their order in it."""

    under_way: int = 0
    """Those that were taken, and of which it is not known yet whether they are delivered to their end."""
    _next: int = 0
    """All before it are taken."""
    _taken: set[int] = field(default_factory=set)
    """Those behind it."""

    def take(self, count: int, fits: Callable[[int], bool]) -> tuple[int, bool]:
        """Return which of `count` is next, and whether all were taken before: the last one is given again then.

        One that `fits` comes before the others: who asks for a stream gets what was recorded as one, if it is there.
        """
        free = list(islice((turn for turn in range(self._next, count) if turn not in self._taken), _LOOKS))
        if not free:
            last = range(count - 1, max(-1, count - 1 - _LOOKS), -1)
            return _first(last, fits), True
        turn = _first(free, fits)
        self.under_way += 1
        self._taken.add(turn)
        while self._next in self._taken:
            self._taken.remove(self._next)
            self._next += 1
        return turn, False

    def give_back(self, turn: int) -> None:
        """Let one be taken again, that was not delivered to its end."""
        self.under_way -= 1
        self._taken.discard(turn)
        if turn < self._next:
            self._taken.update(range(turn + 1, self._next))
            self._next = turn


def _first(turns: list[int] | range, fits: Callable[[int], bool]) -> int:
    return turns[0] if len(turns) == 1 else next(filter(fits, turns), turns[0])
